import {
  type ApplicationId,
  type CredentialId,
  type DelegationId,
  newId,
  ok,
  type ProviderId,
  type ResourceId,
  type Result,
  type Revocation,
  type RevocationKind,
  refuse,
  type SessionId,
  type UnixMillis,
  type ZoneId,
} from '@caracal/core'
import {
  countZone,
  endSessionsOfApplication,
  endSubtree,
  findApplication,
  findApplicationKey,
  findDelegation,
  findProvider,
  findResource,
  findSession,
  type Queryable,
  revoke,
  revokeApplicationKeys,
  revokeDelegationSubtree,
  revokeDelegationsOfSessions,
  toRevocation,
} from '@caracal/postgres'
import type { ChangeEvent } from '../change/commit-change.ts'

/** What is to end, and who says so. */
export type Kill = {
  readonly zone: ZoneId
  readonly kind: RevocationKind
  readonly target: string
  readonly reason: string
  readonly by: string
}

export type Killed = {
  readonly at: UnixMillis
  readonly revocations: readonly Revocation[]
  readonly events: readonly ChangeEvent[]
  /** How much else ended, by noun. */
  readonly affects: Readonly<Record<string, number>>
}

/**
 * Ends one id and everything that stands on it, in the caller's transaction: the id is published (P-052), sessions below it end,
 * delegations below it are revoked; siblings go on (P-053). An application ends with all its sessions, because a mandate that
 * stands on a delegation of it carries the session's id and not the application's. Ending what has ended publishes it again.
 * Refuses `not_found` for an id that this zone does not have, a foreign one included.
 */
export async function kill(tx: Queryable, order: Kill, now: UnixMillis): Promise<Result<Killed, 'not_found'>> {
  const effect = await effectOf(tx, order, now)
  if (effect === undefined) return refuse('not_found')
  const { zone, reason, by } = order
  const targets = [{ kind: order.kind, target: order.target }, ...effect.sessions.map((id) => ({ kind: 'session' as const, target: id }))]
  const revocations: Revocation[] = []
  let at = now
  for (const { kind, target } of targets) {
    const { record } = await revoke(tx, { id: newId('revocation', now), zone, kind, target, reason, by }, now)
    if (target === order.target) at = record.at
    revocations.push(toRevocation(record))
  }
  const events = targets.map(
    ({ kind, target }): ChangeEvent => ({ zone, type: 'revocation.published', target: { kind, id: target }, details: { reason } }),
  )
  return ok({ at, revocations, events, affects: effect.affects })
}

/** Ends what hangs on it in the tables. `sessions`: further ids that must be published. Undefined: there is no such row. */
async function effectOf(
  tx: Queryable,
  { zone, kind, target }: Kill,
  now: UnixMillis,
): Promise<{ readonly sessions: readonly SessionId[]; readonly affects: Readonly<Record<string, number>> } | undefined> {
  switch (kind) {
    case 'session': {
      if ((await findSession(tx, zone, target as SessionId)) === undefined) return undefined
      const ended = await endSubtree(tx, zone, target as SessionId, now)
      const delegations = await revokeDelegationsOfSessions(
        tx,
        zone,
        ended.map((session) => session.id),
        now,
      )
      return { sessions: [], affects: { sessions: ended.length, delegations: delegations.length } }
    }
    case 'delegation': {
      if ((await findDelegation(tx, zone, target as DelegationId)) === undefined) return undefined
      const delegations = await revokeDelegationSubtree(tx, zone, target as DelegationId, now)
      return { sessions: [], affects: { delegations: delegations.length } }
    }
    case 'application': {
      if ((await findApplication(tx, zone, target as ApplicationId)) === undefined) return undefined
      const { roots, ended } = await endSessionsOfApplication(tx, zone, target as ApplicationId, now)
      const delegations = await revokeDelegationsOfSessions(tx, zone, ended, now)
      return { sessions: roots, affects: { sessions: ended.length, delegations: delegations.length } }
    }
    case 'credential': {
      if ((await findApplicationKey(tx, zone, target as CredentialId)) === undefined) return undefined
      await revokeApplicationKeys(tx, { zone, id: target as CredentialId }, now)
      return { sessions: [], affects: {} }
    }
    case 'resource':
      return (await findResource(tx, zone, target as ResourceId)) === undefined ? undefined : { sessions: [], affects: {} }
    case 'provider':
      return (await findProvider(tx, zone, target as ProviderId)) === undefined ? undefined : { sessions: [], affects: {} }
    case 'zone':
      return target === zone ? { sessions: [], affects: await countZone(tx, zone, now) } : undefined
    // These live nowhere: what carries their id ends.
    case 'mandate':
    case 'subject':
    case 'connection':
      return { sessions: [], affects: {} }
  }
}
