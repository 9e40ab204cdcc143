import {
  type Delegation,
  type DelegationId,
  ok,
  type Reason,
  type ResourceId,
  type Result,
  refuse,
  type Session,
  type UnixMillis,
} from '@caracal/core'
import { authorityOf, standOn, type ZoneState } from '@caracal/enforcement'
import { findDelegations, findSessions, listDelegations, type Queryable } from '@caracal/postgres'
import type { CoordinatorDesk } from '../desk.ts'
import { decideScopes, type HeldScope, type Minter } from './decide-scopes.ts'

export type ResourceAuthority = { readonly resource: ResourceId; readonly identifier: string; readonly scopes: readonly HeldScope[] }

/** What one way to authority holds: the session's own right (`delegation` null), or one delegation it can use. */
export type Way = {
  readonly delegation: DelegationId | null
  /** Milliseconds; null when nothing can be done this way, and `reason` says why. */
  readonly until: UnixMillis | null
  readonly reason: Reason | null
  readonly resources: readonly ResourceAuthority[]
}

/** Delegations read of each session of a lineage. */
const MOST_DELEGATIONS = 500

/**
 * What a session can really do now, for each way and Resource (P-036): the checks of a mint, in their order, with the active policy.
 * What is dead, revoked or suspended anywhere in a lineage shows nothing and the reason. Refuses `policy_unavailable`.
 */
export async function sessionAuthority(
  desk: Pick<CoordinatorDesk, 'view' | 'clock'>,
  db: Queryable,
  zone: ZoneState,
  session: Session,
): Promise<Result<readonly Way[], 'policy_unavailable'>> {
  if (zone.policy.kind === 'failed') return refuse('policy_unavailable')
  const ways: Way[] = [await wayOf(desk, db, zone, session, [])]
  for (const delegation of await usableBy(db, session)) {
    ways.push(await wayOf(desk, db, zone, session, await findDelegations(db, session.zone, delegation.lineage), delegation))
  }
  return ok(ways)
}

/** Delegations that the session or one above it accepted. */
async function usableBy(db: Queryable, session: Session): Promise<readonly Delegation[]> {
  const found: Delegation[] = []
  for (const to of session.lineage) {
    found.push(...(await listDelegations(db, session.zone, { to, state: 'active' }, { limit: MOST_DELEGATIONS })).items)
  }
  return found
}

async function wayOf(
  desk: Pick<CoordinatorDesk, 'view' | 'clock'>,
  db: Queryable,
  zone: ZoneState,
  session: Session,
  chain: readonly Delegation[],
  delegation?: Delegation,
): Promise<Way> {
  const minter = await findMinter(desk, db, zone, session, chain, delegation)
  const id = delegation?.id ?? null
  if (!minter.ok) return { delegation: id, until: null, reason: minter.reason, resources: [] }
  const policies = zone.policy.kind === 'active' ? zone.policy.compiled : null
  const resources = [...zone.resources.values()]
    .filter((resource) => desk.view.isRevoked([resource.id]) === null)
    .map((resource) => ({
      resource: resource.id,
      identifier: resource.identifier,
      scopes: decideScopes(policies, zone, resource, minter.value, desk.clock()),
    }))
    .filter(({ scopes }) => scopes.length > 0)
  return { delegation: id, until: minter.value.until, reason: null, resources }
}

/** Everything that a mint would stand on, found alive, or why it would be refused. */
async function findMinter(
  { view, clock }: Pick<CoordinatorDesk, 'view' | 'clock'>,
  db: Queryable,
  zone: ZoneState,
  session: Session,
  chain: readonly Delegation[],
  delegation: Delegation | undefined,
): Promise<Result<Minter & { readonly until: UnixMillis }>> {
  const caller = session.application
  const application = zone.applications.get(caller)
  const isRevoked = (ids: readonly string[]) => view.isRevoked(ids) !== null
  if (application === undefined || isRevoked([zone.snapshot.id, caller])) return refuse('lineage_revoked')
  const above = new Set([...session.lineage, ...chain.flatMap((link) => [link.from, ...link.fromLineage])])
  const sessions = new Map((await findSessions(db, session.zone, [...above])).map((one) => [one.id, one]))
  const delegations = new Map(chain.map((link) => [link.id, link]))
  const stands = standOn(
    { caller, session, delegation, sessions, delegations, parent: undefined },
    { now: clock(), isRevoked, knows: (id) => zone.applications.has(id) },
  )
  if (!stands.ok) return stands
  const until = Math.round(Math.min(...stands.value.bounds.map(({ end }) => end * 1000)))
  return ok({ application, stands: stands.value, authority: authorityOf(caller, stands.value, undefined), until })
}
