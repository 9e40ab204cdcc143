import {
  type ApplicationId,
  newId,
  ok,
  type Result,
  refuse,
  type Seconds,
  type Session,
  type SessionId,
  type UnixMillis,
  type ZoneId,
} from '@caracal/core'
import {
  countLiveByApplication,
  countLiveChildren,
  insertSession,
  insertSessions,
  lockLineage,
  lockLineagesWithoutWaiting,
  type NewSession,
  type Queryable,
} from '@caracal/postgres'
import { type Caller, reaches } from '../callers/caller.ts'
import { liveCount, type SessionLimits, takeRoom } from './limits.ts'
import type { LiveCounts } from './live-counts.ts'
import { standing } from './standing.ts'

/** What is asked for. A task has a TTL; a service a lease, and an absolute end that is far away unless said. */
export type SessionRequest = {
  readonly application: ApplicationId
  readonly parent: SessionId | null
  readonly labels: readonly string[]
} & (
  | { readonly kind: 'task'; readonly ttl: Seconds }
  | { readonly kind: 'service'; readonly lease: Seconds; readonly ttl: Seconds | undefined }
)

/** A session lives at most so long, and a service unless it says otherwise. */
export const LONGEST_SESSION: Seconds = 30 * 86_400

export const LEASE_SECONDS = { least: 5, most: 3_600, usual: 60 } as const

/** A start that was asked for, by whom. */
export type AskedStart = { readonly caller: Caller; readonly request: SessionRequest }

/**
 * Starts a session below a parent that is the caller's, of the same application and alive through its whole lineage, locked so that
 * it stays so until the commit. The end is clamped to that of everything above. More than the limits is `limit_reached`.
 */
export async function startSession(
  tx: Queryable,
  limits: SessionLimits,
  zone: ZoneId,
  asked: AskedStart,
  now: UnixMillis,
): Promise<Result<Session>> {
  const { application, parent } = asked.request
  const above = parent === null ? [] : await lockLineage(tx, zone, parent)
  const planned = planSession(zone, asked, above, now)
  if (!planned.ok) return planned
  const children = await countLiveChildren(tx, zone, parent === null ? [] : [parent], now)
  const full = takeRoom(limits, liveCount(await countLiveByApplication(tx, zone, now), children), {
    application,
    parent,
    depth: above.length + 1,
  })
  return full ?? ok(await insertSession(tx, planned.value, now))
}

/**
 * The same for many starts in one zone, each for itself, in a handful of statements. `later`: somebody else is changing what it
 * would stand on, or there is no such thing; `startSession` waits and finds out.
 */
export async function startTogether(
  tx: Queryable,
  limits: SessionLimits,
  counts: LiveCounts,
  zone: ZoneId,
  starts: readonly AskedStart[],
  now: UnixMillis,
): Promise<readonly (Result<Session> | 'later')[]> {
  const parents = [...new Set(starts.flatMap(({ request }) => request.parent ?? []))]
  const held = await lockLineagesWithoutWaiting(tx, zone, parents)
  const applications = new Set(starts.map(({ request }) => request.application))
  const count = await counts.read(tx, zone, { applications, parents, more: starts.length }, now)
  const verdicts = starts.map((asked): Result<NewSession> | 'later' => {
    const { application, parent } = asked.request
    const lineage = parent === null ? [] : held.get(parent)?.lineage
    const above = lineage?.flatMap((id) => held.get(id) ?? [])
    if (above === undefined || above.length !== lineage?.length) return 'later'
    const planned = planSession(zone, asked, above, now)
    return planned.ok ? (takeRoom(limits, count, { application, parent, depth: above.length + 1 }) ?? planned) : planned
  })
  const planned = verdicts.flatMap((verdict) => (verdict !== 'later' && verdict.ok ? [verdict.value] : []))
  const written = new Map((await insertSessions(tx, planned, now)).map((session) => [session.id, session]))
  return verdicts.map((verdict) => {
    if (verdict === 'later' || !verdict.ok) return verdict
    const session = written.get(verdict.value.id)
    if (session === undefined) throw new Error('a session was not written')
    return ok(session)
  })
}

/** The session that is asked for below these, root first, if the caller may start it there. */
function planSession(zone: ZoneId, { caller, request }: AskedStart, above: readonly Session[], now: UnixMillis): Result<NewSession> {
  const { application, labels } = request
  const parent = above.at(-1)
  let end = now + (request.ttl ?? LONGEST_SESSION) * 1000
  if (request.parent !== null) {
    if (parent === undefined || !reaches(caller, parent) || parent.application !== application)
      return refuse('session_not_usable', 'parent')
    const alive = standing(above, now)
    if (!alive.ok) return alive
    // A lease above moves on; the absolute ends do not.
    end = Math.min(end, ...above.map((session) => session.expiresAt))
  }
  const id = newId('session', now)
  return ok({
    id,
    zone,
    application,
    kind: request.kind,
    parent: parent?.id ?? null,
    lineage: [...(parent?.lineage ?? []), id],
    labels,
    subject: parent?.subject ?? null,
    expiresAt: end,
    lease: request.kind === 'task' ? null : { generation: 1, expiresAt: Math.min(end, now + request.lease * 1000) },
  })
}
