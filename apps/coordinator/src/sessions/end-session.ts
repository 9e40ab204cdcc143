import { type Delegation, newId, ok, type Result, type Session, type SessionId, type UnixMillis, type ZoneId } from '@caracal/core'
import {
  endSubtree,
  endSubtrees,
  findSessions,
  lockSessionsWithoutWaiting,
  type NewRevocation,
  type Queryable,
  type RevocationRecord,
  revokeDelegationsOfSessions,
  revokeEach,
  toRevocation,
} from '@caracal/postgres'
import { answer } from '@caracal/service'
import { type Caller, reaches } from '../callers/caller.ts'
import type { Change } from '../change/commit-change.ts'
import { showSession } from './session-body.ts'

type Why = { readonly by: string; readonly reason: 'ended' | 'expired' | 'lease_expired' }

/** An end that was asked for, by whom. */
export type AskedEnd = { readonly caller: Caller; readonly id: SessionId }

/**
 * Ends a locked session and its whole subtree for good, with every delegation these handed out or held and all below those. The one
 * id published is enough: mandates of the subtree and of the delegations from it carry it (P-053). What has ended stays so.
 */
export async function endSession(tx: Queryable, session: Session, why: Why, now: UnixMillis): Promise<Result<Change>> {
  const { zone, id } = session
  const rows = await endSubtree(tx, zone, id, now)
  const self = rows.find((row) => row.id === id)
  if (self === undefined) return ok(endedBefore(session))
  const delegations = await revokeDelegationsOfSessions(tx, zone, idsOf(rows), now)
  const [record] = await revokeEach(tx, [revocationOf(session, why, now)], now)
  return ok(endedNow({ self, rows, delegations, record, why }))
}

/**
 * The same for many sessions of one zone that have nothing above them, each for itself, in a handful of statements. `later`: it has
 * something above it, somebody else is changing it or standing on it, or it is not there for the caller.
 */
export async function endTogether(
  tx: Queryable,
  zone: ZoneId,
  ends: readonly AskedEnd[],
  now: UnixMillis,
): Promise<readonly (Result<Change> | 'later')[]> {
  const wanted = [...new Set(ends.map(({ id }) => id))]
  const found = new Map((await findSessions(tx, zone, wanted)).map((session) => [session.id, session]))
  const roots = ends.flatMap(({ caller, id }) => {
    const session = found.get(id)
    return session !== undefined && session.parent === null && reaches(caller, session) ? [id] : []
  })
  const locked = await lockSessionsWithoutWaiting(tx, zone, [...new Set(roots)])
  // The statement after the locks sees the children of whoever held them before.
  const live = [...locked.values()].filter(({ state }) => state !== 'ended')
  const rows = await endSubtrees(tx, zone, idsOf(live), now)
  const delegations = await revokeDelegationsOfSessions(tx, zone, idsOf(rows), now)
  const whoEnds = new Map(ends.toReversed().map(({ caller, id }) => [id, caller]))
  const whyOf = ({ id }: Session): Why => ({ by: whoEnds.get(id)?.by ?? '', reason: 'ended' })
  const records = await revokeEach(
    tx,
    live.map((session) => revocationOf(session, whyOf(session), now)),
    now,
  )
  const subtrees = Map.groupBy(rows, ({ lineage }) => lineage[0])
  const unclaimed = new Set(delegations)
  const changes = new Map<SessionId, Change>()
  return ends.map(({ id }) => {
    const session = locked.get(id)
    if (session === undefined) return 'later'
    const subtree = subtrees.get(id) ?? []
    const self = subtree.find((row) => row.id === id)
    if (self === undefined) return ok(endedBefore(session))
    if (changes.has(id)) return ok(endedBefore(self))
    const record = records.find(({ target }) => target === id)
    const change = endedNow({ self, rows: subtree, delegations: takeThoseOf(subtree, unclaimed), record, why: whyOf(session) })
    changes.set(id, change)
    return ok(change)
  })
}

/** Of the delegations, ancestors first, those that fell with these sessions; each falls once. */
function takeThoseOf(subtree: readonly Session[], unclaimed: Set<Delegation>): readonly Delegation[] {
  const sessions = new Set(idsOf(subtree))
  const fallen = new Set<string>()
  return [...unclaimed].filter((delegation) => {
    const { id, fromLineage, to, lineage } = delegation
    const falls =
      fromLineage.some((one) => sessions.has(one)) || (to !== null && sessions.has(to)) || lineage.some((above) => fallen.has(above))
    if (!falls) return false
    fallen.add(id)
    return unclaimed.delete(delegation)
  })
}

function endedBefore(session: Session): Change {
  return { answer: answer(200, showSession(session, 'ended')), event: null, changed: [], revocations: [] }
}

function endedNow(end: {
  readonly self: Session
  readonly rows: readonly Session[]
  readonly delegations: readonly Delegation[]
  readonly record: RevocationRecord | undefined
  readonly why: Why
}): Change {
  const { self, rows, delegations, record, why } = end
  return {
    answer: answer(200, showSession(self, 'ended')),
    event: {
      type: 'session.ended',
      target: { kind: 'session', id: self.id },
      details: { cause: why.reason, sessions: rows.length, delegations: delegations.length },
    },
    // Who caches the session itself hears of the revocation, and reads it anew for that.
    changed: [
      ...rows.flatMap(({ id }) => (id === record?.target ? [] : [{ kind: 'session' as const, id }])),
      ...delegations.map(({ id }) => ({ kind: 'delegation' as const, id })),
    ],
    revocations: record === undefined ? [] : [toRevocation(record)],
  }
}

function revocationOf({ zone, id }: Session, { by, reason }: Why, now: UnixMillis): NewRevocation {
  return { id: newId('revocation', now), zone, kind: 'session', target: id, reason, by }
}

function idsOf(sessions: readonly Session[]): SessionId[] {
  return sessions.map(({ id }) => id)
}
