import {
  type ApplicationId,
  type Delegation,
  type DelegationId,
  type Grant,
  MAX_LINEAGE,
  ok,
  type Resource,
  type Result,
  refuse,
  type Scope,
  type Session,
  type UnixMillis,
} from '@caracal/core'
import { delegationCeilings, joinLineage, narrow } from '@caracal/enforcement'

/** What is offered, with its resources found. `hops` and `expiresAt` undefined: none, and as long as possible. */
export type Offer = {
  readonly toApplication: ApplicationId
  readonly grants: readonly { readonly resource: Pick<Resource, 'id' | 'scopes'>; readonly scopes: readonly Scope[] }[]
  readonly hops: number | undefined
  readonly expiresAt: UnixMillis | undefined
}

/** What an offer stands on: the session it comes from, and the chain of delegations above it (root → parent; empty = own authority). */
export type OfferGround = {
  readonly from: Pick<Session, 'application' | 'lineage'>
  readonly chain: readonly Pick<Delegation, 'id' | 'grants' | 'hops' | 'fromApplication' | 'fromLineage' | 'lineage'>[]
  /** When the session or a delegation of the chain ends at the latest. */
  readonly end: UnixMillis
}

export type Narrowed = Pick<Delegation, 'grants' | 'hops' | 'expiresAt' | 'lineage'>

/**
 * Every constraint of a delegation is within the parent's, or the offer is refused by the name of what is too wide (P-035): grants
 * ⊆ what the resource declares and every delegation of the chain holds, by the function that mints; hops fewer than the parent's; end
 * no later than the chain's and the session's; nobody delegates to itself or to someone above; at most ten in a lineage.
 */
export function narrowOffer(id: DelegationId, offer: Offer, ground: OfferGround, now: UnixMillis): Result<Narrowed> {
  const { chain, from } = ground
  const parent = chain.at(-1)
  if (offer.toApplication === from.application) return refuse('validation_failed', 'an application does not delegate to itself')
  if (chain.some((link) => link.fromApplication === offer.toApplication)) {
    return refuse('validation_failed', 'the application delegates above in this chain')
  }
  const hops = offer.hops ?? 0
  if (parent !== undefined && hops >= parent.hops) {
    return refuse('validation_failed', `hops must be less than the parent’s ${parent.hops}`, { constraint: 'hops', most: parent.hops - 1 })
  }
  const lineage = [...(parent?.lineage ?? []), id]
  const joined = joinLineage({ delegation: { lineage, fromLineage: [...chain.flatMap((link) => link.fromLineage), ...from.lineage] } })
  if (!joined.ok) return joined
  // The one who accepts needs a session below all of these.
  if (joined.value.ses.length >= MAX_LINEAGE) return refuse('lineage_too_deep', 'no session is left for the recipient')

  const grants = narrowGrants(offer, chain)
  if (!grants.ok) return grants
  const expiresAt = offer.expiresAt ?? ground.end
  if (expiresAt > ground.end) {
    return refuse('validation_failed', 'expiresAt is later than what it stands on', {
      constraint: 'expiresAt',
      most: Math.floor(ground.end),
    })
  }
  if (expiresAt <= now) return refuse('validation_failed', 'expiresAt is over', { constraint: 'expiresAt' })
  return ok({ grants: grants.value, hops, expiresAt, lineage })
}

function narrowGrants(offer: Offer, chain: OfferGround['chain']): Result<readonly Grant[]> {
  const grants: Grant[] = []
  for (const { resource, scopes } of offer.grants) {
    if (grants.some((grant) => grant.resource === resource.id)) return refuse('validation_failed', 'a resource stands more than once')
    // An empty list would read as "all that is left".
    if (scopes.length === 0) return refuse('validation_failed', 'a grant names its scopes')
    const narrowed = narrow(new Set(scopes), resource.scopes, delegationCeilings(chain, resource.id))
    if (!narrowed.ok) return narrowed
    grants.push({ resource: resource.id, scopes: [...narrowed.value.scopes].sort() })
  }
  return grants.length === 0 ? refuse('validation_failed', 'a delegation lists its resources') : ok(grants)
}
