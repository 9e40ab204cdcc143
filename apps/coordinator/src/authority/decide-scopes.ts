import type { Application, CompiledPolicies, MintInput, Resource, Scope, UnixMillis } from '@caracal/core'
import {
  type Authority,
  boundLifetime,
  decideForAll,
  delegationCeilings,
  narrow,
  principalFacts,
  type StandsOn,
  standingFacts,
  type ZoneState,
} from '@caracal/enforcement'

/** Who would mint: an application in its session, with what that stands on. */
export type Minter = { readonly application: Application; readonly stands: StandsOn; readonly authority: Authority }

/** One scope that a mint would grant, or ask a human about. */
export type HeldScope = {
  readonly scope: Scope
  readonly effect: 'allow' | 'hold'
  /** Rules of the call phase may still refuse: at mint they were not evaluated. */
  readonly deferred: boolean
  readonly rules: readonly string[]
}

/**
 * What of a resource a mint with nothing but the resource, the session and the delegation named would grant now: declared ∩ every
 * delegation, then what policy says to the application and to every delegator, each by the function that mints (P-036). A rule whose
 * limits no mint here can meet grants nothing.
 */
export function decideScopes(
  policies: CompiledPolicies | null,
  zone: ZoneState,
  resource: Resource,
  { application, stands, authority }: Minter,
  now: UnixMillis,
): readonly HeldScope[] {
  const narrowed = narrow(null, resource.scopes, delegationCeilings(stands.chain, resource.id))
  if (!narrowed.ok) return []
  const seconds = Math.floor(now / 1000)
  if (!boundLifetime(undefined, resource.mandateLife, stands.bounds, seconds).ok) return []
  const principals = principalFacts(authority, (id) => zone.applications.get(id))
  const facts: Omit<MintInput, 'scope'> = {
    ...standingFacts(authority),
    phase: 'mint',
    zone: zone.snapshot,
    application,
    resource,
    mandate: { ttl: resource.mandateLife, once: resource.once, senderConstrained: false },
  }
  return [...narrowed.value.scopes].sort().flatMap((scope) => {
    const decision = decideForAll(policies, { ...facts, scope }, principals)
    if (decision.effect === 'deny' || decision.limits.senderConstrained === true) return []
    const { effect, rules } = decision
    return { scope, effect, deferred: decision.effect === 'allow' && decision.deferred, rules: [...rules].sort() }
  })
}
