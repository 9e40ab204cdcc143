import {
  type Application,
  type CompiledPolicies,
  type DecisionFacts,
  type Delegation,
  decide,
  type Resource,
  type Scope,
  type Session,
  type ZoneSnapshot,
} from '@caracal/core'
import { delegationCeilings, narrow } from '@caracal/enforcement'

/** Who would mint: an application in its session, through a chain of delegations (root → leaf; empty = by its own right). */
export type Minter = {
  readonly application: Application
  readonly session: Session
  readonly chain: readonly Delegation[]
  /** Who offered each link, in the session it came from. */
  readonly delegators: readonly { readonly application: Application; readonly session: Session }[]
}

/** One scope that a mint would grant, or ask a human about. */
export type HeldScope = {
  readonly scope: Scope
  readonly effect: 'allow' | 'hold'
  /** Rules of the call phase may still refuse: at mint they were not evaluated. */
  readonly deferred: boolean
  readonly rules: readonly string[]
}

/**
 * What of a resource a mint would grant now: declared ∩ every delegation, by the function that mints, then what policy says to the
 * application and to every delegator. A deny of any of them is a deny, a hold of any of them a hold.
 */
export function decideScopes(
  policies: CompiledPolicies | null,
  zone: ZoneSnapshot,
  resource: Resource,
  minter: Minter,
): readonly HeldScope[] {
  const narrowed = narrow(null, resource.scopes, delegationCeilings(minter.chain, resource.id))
  if (!narrowed.ok) return []
  return [...narrowed.value.scopes].sort().flatMap((scope) => {
    const decisions = mintFacts(zone, resource, minter, scope).map((facts) => decide(policies, { ...facts, phase: 'mint' }))
    if (decisions.some((one) => one.effect === 'deny')) return []
    return {
      scope,
      effect: decisions.some((one) => one.effect === 'hold') ? ('hold' as const) : ('allow' as const),
      deferred: decisions.some((one) => one.effect === 'allow' && one.deferred),
      rules: [...new Set(decisions.flatMap((one) => one.rules))].sort(),
    }
  })
}

/** The facts for the application, then for each delegator in its own session. */
function mintFacts(
  zone: ZoneSnapshot,
  resource: Resource,
  { application, session, chain, delegators }: Minter,
  scope: Scope,
): DecisionFacts[] {
  const shared = {
    zone: { id: zone.id, name: zone.name, labels: zone.labels },
    resource: { id: resource.id, name: resource.name, identifier: resource.identifier, kind: resource.kind },
    scope,
    mandate: { ttl: resource.mandateLife, once: resource.once, senderConstrained: false },
  }
  return [
    { ...shared, ...whoFacts(application, session), ...(chain.length > 0 ? { delegation: { depth: chain.length } } : {}) },
    ...delegators.map((one, depth) => ({
      ...shared,
      ...whoFacts(one.application, one.session),
      ...(depth > 0 ? { delegation: { depth } } : {}),
    })),
  ]
}

function whoFacts({ id, name, labels }: Application, session: Session): Pick<DecisionFacts, 'application' | 'session' | 'subject'> {
  return {
    application: { id, name, labels },
    session: { id: session.id, kind: session.kind, labels: session.labels, depth: session.lineage.length },
    ...(session.subject === null ? {} : { subject: { id: session.subject, issuer: '', claims: {} } }),
  }
}
