import {
  type ApplicationId,
  type Delegation,
  type DelegationId,
  type MandateClaims,
  ok,
  type Result,
  refuse,
  type Session,
  type SessionId,
  type UnixMillis,
} from '@caracal/core'
import type { LifetimeBound } from './bound-lifetime.ts'
import { joinLineage, type Lineage } from './lineage.ts'

/** What a mint asks to stand on, and the rows of it as far as they exist. */
export type Ground = {
  readonly caller: ApplicationId
  /** The session that was named; undefined when none was. A name without a row is the caller's to refuse. */
  readonly session: Session | undefined
  readonly delegation: Delegation | undefined
  /** The session's lineage and every delegator's. */
  readonly sessions: ReadonlyMap<SessionId, Session>
  /** The delegation's lineage. */
  readonly delegations: ReadonlyMap<DelegationId, Delegation>
  /** Claims of the mandate that is exchanged. */
  readonly parent: MandateClaims | undefined
}

/** What the rows are judged against. */
export type Surroundings = {
  readonly now: UnixMillis
  readonly isRevoked: (ids: readonly string[]) => boolean
  /** Whether the zone has this Application. */
  readonly knows: (application: ApplicationId) => boolean
}

/** Everything a mandate will stand on, found alive. */
export type StandsOn = {
  readonly ids: Lineage
  readonly session: Session | undefined
  /** The delegation used and those above it, root first. */
  readonly chain: readonly Delegation[]
  /** The session that each delegation of the chain came from. */
  readonly delegators: readonly { readonly application: ApplicationId; readonly session: Session }[]
  readonly bounds: readonly LifetimeBound[]
}

/**
 * Whether what a mint names carries authority at `now`: the session is the caller's, the delegation is held by a session of its lineage,
 * and every link above them is active, unexpired and not revoked. The STS mints by it and the Coordinator shows by it (P-036). Time
 * counts in whole seconds, as mandates have it: what is left of one buys nothing.
 */
export function standOn(ground: Ground, surroundings: Surroundings): Result<StandsOn> {
  const { caller, session, delegation } = ground
  if (session !== undefined && session.application !== caller) return refuse('session_not_usable')
  const chain = chainOf(ground)
  if (!chain.ok) return chain
  const ids = joinLineage({
    session,
    delegation:
      delegation === undefined ? undefined : { lineage: delegation.lineage, fromLineage: chain.value.flatMap((link) => link.fromLineage) },
    parent: ground.parent,
  })
  if (!ids.ok) return ids

  const above = [...new Set([...(session?.lineage ?? []), ...chain.value.flatMap((link) => link.fromLineage)])]
  const delegating = chain.value.map((link) => link.fromApplication)
  if (surroundings.isRevoked([...ids.value.ses, ...ids.value.dlg, ...ids.value.mnd, ...delegating])) {
    const states = above.map((id) => ground.sessions.get(id)?.state)
    return refuse(states.includes('suspended') && !states.includes('ended') ? 'session_suspended' : 'lineage_revoked')
  }
  const bounds: LifetimeBound[] = []
  for (const id of above) {
    const alive = sessionBounds(ground.sessions.get(id), surroundings.now)
    if (!alive.ok) return alive
    bounds.push(...alive.value)
  }
  const delegators: { application: ApplicationId; session: Session }[] = []
  for (const link of chain.value) {
    const from = ground.sessions.get(link.from)
    if (link.state !== 'active' || from === undefined || !surroundings.knows(link.fromApplication)) return refuse('delegation_not_usable')
    if (isOver(link.expiresAt, surroundings.now)) return refuse('lineage_expired', link.id)
    bounds.push({ name: link.id, end: link.expiresAt / 1000 })
    delegators.push({ application: link.fromApplication, session: from })
  }
  return ok({ ids: ids.value, session, chain: chain.value, delegators, bounds })
}

/** The delegation and those above it, root first; it is used by the session that accepted it or one below. */
function chainOf({ caller, session, delegation, delegations }: Ground): Result<readonly Delegation[], 'delegation_not_usable'> {
  if (delegation === undefined) return ok([])
  if (delegation.toApplication !== caller || delegation.to === null) return refuse('delegation_not_usable')
  if (session === undefined || !session.lineage.includes(delegation.to)) return refuse('delegation_not_usable')
  const chain = delegation.lineage.flatMap((id) => delegations.get(id) ?? [])
  return chain.length === delegation.lineage.length ? ok(chain) : refuse('delegation_not_usable')
}

/** When a session that carries authority ends at the latest. A lease ends authority by time, sweeper or not (P-043). */
function sessionBounds(session: Session | undefined, now: UnixMillis): Result<readonly LifetimeBound[]> {
  if (session === undefined || session.state === 'ended') return refuse('session_not_usable')
  if (session.state === 'suspended') return refuse('session_suspended')
  const ends = session.lease === null ? [session.expiresAt] : [session.expiresAt, session.lease.expiresAt]
  if (ends.some((end) => isOver(end, now))) return refuse('lineage_expired', session.id)
  return ok(ends.map((end) => ({ name: session.id, end: end / 1000 })))
}

function isOver(end: UnixMillis, now: UnixMillis): boolean {
  return Math.floor(end / 1000) <= Math.floor(now / 1000)
}
