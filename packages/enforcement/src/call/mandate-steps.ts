import {
  type CallInput,
  CLOCK_SKEW,
  type CompiledPolicies,
  type Decision,
  type DecisionInput,
  ok,
  type Refusal,
  type Result,
  refuse,
  type UnixMillis,
  type UnixSeconds,
} from '@caracal/core'
import { StoreUnavailable } from '@caracal/streams'
import { mandateOfCaller } from '../caller/mandate-of-caller.ts'
import { decideForAll, principalFacts, standingFacts } from '../mint/authority.ts'
import type { ZoneState } from '../replica/zone-state.ts'
import type { CallDependencies, CallFacts, GovernedCall, Presented } from './governed-call.ts'
import type { Awaitable } from './pipeline.ts'

/** What every call begins with, for a resource or for Caracal itself. */
export type Start = {
  readonly call: Presented & Pick<GovernedCall, 'requestId' | 'proof'> & Partial<Pick<GovernedCall, 'route'>>
  readonly now: UnixMillis
  readonly with: CallDependencies
}

/** A start to which earlier steps added these facts. */
export type Has<K extends Exclude<keyof CallFacts, 'call'>> = Start & Pick<CallFacts, K>

export type Reservation = { readonly reserved: string | null }

/** Nothing is decided with nothing, nor with what was not confirmed for too long (P-012); or, where that is asked for, for this call. */
export function requireConfiguration({ with: { state, confirm } }: Start): Awaitable<Result<object>> {
  const standing = state.standing()
  if (standing === 'empty') return refuse('starting')
  if (standing === 'outdated') return refuse('sts_unavailable')
  return confirm === undefined ? ok({}) : confirm().then((said) => (said ? ok({}) : refuse('sts_unavailable')))
}

/** Signature, `typ`, `iss`, `exp`, `nbf`; the zone is the one that the mandate proved to be of. Who was proven stands as with one. */
export async function verifyMandate({ call, now, with: using }: Start): Promise<Result<Pick<CallFacts, 'mandate' | 'zone'>>> {
  const { verifier, state } = using
  if (call.caller !== undefined) {
    return call.route === undefined
      ? refuse('unauthenticated', 'a mandate is required')
      : mandateOfCaller(call.caller, call.route, now, using)
  }
  const mandate = await verifier.verify(call.token, now / 1000)
  if (!mandate.ok) return mandate
  const zone = state.zone(mandate.value.claims.zone)
  return zone === undefined ? refuse('invalid_token', 'zone') : ok({ mandate: mandate.value, zone })
}

/** A bound mandate as a plain Bearer is refused (P-016). */
export function bindSender({ call, mandate }: Has<'mandate'>): Result<object> {
  const { cnf } = mandate.claims
  // What a caller without a mandate is bound to is what it was proven by.
  if (cnf === undefined || mandate.credential !== undefined) return ok({})
  const proven = (['jkt', 'x5t#S256'] as const).every((name) => cnf[name] === undefined || cnf[name] === call.proof?.[name])
  return proven ? ok({}) : refuse('invalid_token', 'the mandate is bound to a key that was not proven')
}

/** Every id the mandate carries (P-038). */
export function checkMandateLineage({ mandate, with: { view } }: Has<'mandate'>): Result<object> {
  const revoked = view.isRevoked(mandate.revocable)
  return revoked === null ? ok({}) : refuse('token_revoked', undefined, { revoked })
}

export function findApplication(so: Has<'mandate' | 'zone'>): Awaitable<Result<Pick<CallFacts, 'application'>>> {
  const application = so.zone.applications.get(so.mandate.claims.client_id)
  return application === undefined ? findAnew(so) : ok({ application })
}

async function findAnew({ mandate, zone, with: using }: Has<'mandate' | 'zone'>): Promise<Result<Pick<CallFacts, 'application'>>> {
  const application = (await readAnew(zone, using)).applications.get(mandate.claims.client_id)
  return application === undefined ? refuse('invalid_token', 'client_id') : ok({ application })
}

/** Once per call, after everything that says whose call it is and before anything that has an effect (P-066, P-067). */
export function limitRate({ mandate, with: { admit, shed } }: Has<'mandate'>): Result<object> {
  const wait = admit?.(mandate.claims.client_id) ?? 0
  if (wait > 0) return refuse('rate_limited', undefined, { retry_after: Math.ceil(wait) })
  return shed?.(mandate.claims.zone) ?? ok({})
}

/** A view that cannot vouch is a 503, never a 401 and never served (P-056). */
export function requireFreshView({ with: { view } }: Start): Result<object> {
  const unfit = view.unfit()
  return unfit === null ? ok({}) : refuse('revocation_view_stale', unfit)
}

/**
 * One call per mandate, or per one-time id of a caller without one, at all replicas; the owner is the request, so a repeated claim of
 * its own is no replay (P-017).
 */
export async function reserve({ call, mandate, now, with: { claim } }: Has<'mandate'>): Promise<Result<Reservation>> {
  const { jti, zone, exp } = mandate.claims
  const use = mandate.credential === undefined ? { key: `once:${zone}:${jti}`, ttl: Math.ceil(exp - now / 1000) + CLOCK_SKEW } : mandate.use
  if (use === undefined || use === null) return refuse('nonce_required', 'the resource or a rule lets it happen once only')
  try {
    const got = await claim(use.key, call.requestId, use.ttl)
    if (got) return ok({ reserved: use.key })
    return replayed(mandate)
  } catch (error) {
    // Why it could not be claimed is said as it is: a full store is no policy (P-174).
    return refuse(error instanceof StoreUnavailable ? error.reason : 'store_unavailable')
  }
}

/** What happens once only was somebody else's call. */
export function replayed({ credential }: Pick<CallFacts['mandate'], 'credential'>): Refusal<'token_replayed' | 'nonce_replayed'> {
  return refuse(credential === undefined ? 'token_replayed' : 'nonce_replayed')
}

/** The zone after it was read anew: something in it is not known here yet. */
export async function readAnew(zone: ZoneState, { refresh, state }: CallDependencies): Promise<ZoneState> {
  await refresh?.(zone.snapshot.id)
  return state.zone(zone.snapshot.id) ?? zone
}

/** When the mandate ends under the rules that are active now. */
export function endOf(claims: { readonly iat: UnixSeconds; readonly exp: UnixSeconds }, decision: Decision): UnixSeconds {
  const most = decision.effect === 'deny' ? undefined : decision.limits.maxTtl
  return most === undefined ? claims.exp : Math.min(claims.exp, claims.iat + most)
}

/** What policy sees of the caller, in every call alike. */
export function callerFacts({
  mandate,
  zone,
}: Has<'mandate' | 'zone'>): Pick<CallInput, 'zone' | 'subject' | 'session' | 'delegation' | 'mandate'> {
  const { claims } = mandate
  return {
    zone: zone.snapshot,
    ...standingFacts(claims),
    mandate: { ttl: claims.exp - claims.iat, once: claims.once === true, senderConstrained: claims.cnf !== undefined },
  }
}

/** The client's decision and that of everybody on whose authority it acts, as the zone is now. */
export function decideAsAll(policies: CompiledPolicies | null, { mandate, zone }: Has<'mandate' | 'zone'>, own: DecisionInput): Decision {
  return decideForAll(
    policies,
    own,
    principalFacts(mandate.claims, (id) => zone.applications.get(id)),
  )
}

/** The effect, and the limits of the rules active now: they hold at use as they did at mint (P-030). */
export function applyLimits(so: Has<'mandate' | 'decision'> & Reservation): Awaitable<Result<object>> {
  const { decision, mandate } = so
  if (decision.effect === 'deny') return refuse(decision.reason)
  if (decision.limits.senderConstrained && mandate.claims.cnf === undefined) return refuse('sender_constraint_required')
  if (endOf(mandate.claims, decision) <= so.now / 1000) return refuse('token_expired', 'a rule allows a shorter life')
  if (decision.effect === 'hold') return refuse(decision.reason)
  return decision.limits.once && so.reserved === null ? reserve(so) : ok({})
}
