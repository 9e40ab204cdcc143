import {
  type CallInput,
  CLOCK_SKEW,
  type Decision,
  decide,
  isId,
  ok,
  type Result,
  refuse,
  type UnixMillis,
  type UnixSeconds,
} from '@caracal/core'
import { canonicalSegment } from '../operation/path-template.ts'
import type { ZoneState } from '../replica/zone-state.ts'
import type { CallDependencies, CallFacts, CallVerdict, GovernedCall } from './governed-call.ts'
import { pipeline } from './pipeline.ts'

type Start = { readonly call: GovernedCall; readonly now: UnixMillis; readonly with: CallDependencies }
type Has<K extends keyof CallFacts> = Start & Pick<CallFacts, K>
type Reservation = { readonly reserved: string | null }

/** 2-model "Verify", after routing and before evidence. Each step adds what it established or refuses with a reason. */
const steps = pipeline<Start>()
  .step(requireConfiguration)
  .step(verifyMandate) // signature, typ, iss, exp, nbf
  .step(bindSender)
  .step(resolveResource)
  .step(checkAudience)
  .step(findApplication)
  .step(checkLineage)
  .step(requireFreshView)
  .step(reserveOnce)
  .step(matchOperation)
  .step(holdScope)
  .step(decideScope) // with the policy active now
  .step(applyLimits)
  .step(checkLineageAgain) // what was revoked while something above was awaited

/**
 * Decides one governed call, phase `call`. In the steady state it asks nobody: it waits only for a body that a rule reads, and
 * for the claim of a single-use mandate, which is given back when a later step refuses. A refusal is data; a throw never allows.
 */
export async function decideCall(call: GovernedCall, dependencies: CallDependencies): Promise<CallVerdict> {
  const now = (dependencies.clock ?? Date.now)()
  const held = new Set<string>()
  const claim: CallDependencies['claim'] = async (key, owner, ttl) => {
    const got = await dependencies.claim(key, owner, ttl)
    if (got) held.add(key)
    return got
  }
  const release = async () => {
    for (const key of held) await dependencies.release(key, call.requestId)
    held.clear()
  }

  let verdict: CallVerdict | null = null
  try {
    const outcome = await steps.run({ call, now, with: { ...dependencies, claim } })
    if (outcome.passed) {
      const { mandate, decision } = outcome.so
      const { so: facts } = outcome
      const position = dependencies.view.position()
      verdict = { decision: 'allow', facts, expiresAt: endOf(mandate.claims, decision), revocationPosition: position, release }
    } else {
      const { refusal, at, so: facts } = outcome
      const approval = facts.decision?.effect === 'hold' ? facts.decision.approval : undefined
      const isHold = refusal.reason === 'approval_required' && approval !== undefined
      verdict = isHold ? { decision: 'hold', refusal, at, facts, approval } : { decision: 'deny', refusal, at, facts }
    }
    return verdict
  } finally {
    // A claim that cannot be given back burns the mandate: that refuses more, never less.
    if (verdict?.decision !== 'allow') await release().catch(() => {})
  }
}

function requireConfiguration({ with: { state } }: Start): Result<object> {
  const standing = state.standing()
  if (standing === 'empty') return refuse('starting')
  return standing === 'outdated' ? refuse('sts_unavailable') : ok({})
}

async function verifyMandate({ call, now, with: { verifier, state } }: Start): Promise<Result<Pick<CallFacts, 'mandate' | 'zone'>>> {
  const mandate = await verifier.verify(call.token, now / 1000)
  if (!mandate.ok) return mandate
  const zone = state.zone(mandate.value.claims.zone)
  return zone === undefined ? refuse('invalid_token', 'zone') : ok({ mandate: mandate.value, zone })
}

/** A bound mandate as a plain Bearer is refused (P-016). */
function bindSender({ call, mandate }: Has<'mandate'>): Result<object> {
  const { cnf } = mandate.claims
  if (cnf === undefined) return ok({})
  const proven = (['jkt', 'x5t#S256'] as const).every((name) => cnf[name] === undefined || cnf[name] === call.proof?.[name])
  return proven ? ok({}) : refuse('invalid_token', 'the mandate is bound to a key that was not proven')
}

/** The resource the mandate is for. What it is not for is not looked up, so that nothing shows whether it exists (P-033). */
async function resolveResource({
  mandate,
  zone,
  with: using,
}: Has<'mandate' | 'zone'>): Promise<Result<Pick<CallFacts, 'resource' | 'zone'>>> {
  const find = (state: ZoneState) => state.resourcesByIdentifier.get(mandate.claims.aud)
  const known = find(zone)
  if (known !== undefined) return ok({ resource: known, zone })
  const anew = await readAnew(zone, using)
  const resource = find(anew)
  return resource === undefined ? refuse('resource_unknown') : ok({ resource, zone: anew })
}

function checkAudience({ call: { route }, resource }: Has<'resource'>): Result<object> {
  return resource[route.by] === route.value ? ok({}) : refuse('wrong_audience')
}

async function findApplication({ mandate, zone, with: using }: Has<'mandate' | 'zone'>): Promise<Result<Pick<CallFacts, 'application'>>> {
  const id = mandate.claims.client_id
  const application = zone.applications.get(id) ?? (await readAnew(zone, using)).applications.get(id)
  return application === undefined ? refuse('invalid_token', 'client_id') : ok({ application })
}

/** The ids the mandate carries, and what it leads to: a deleted resource or provider falls like a revoked session (P-060). */
function checkLineage({ mandate, resource, with: { view } }: Has<'mandate' | 'resource'>): Result<object> {
  const revoked = view.isRevoked(mandate.revocable)
  if (revoked !== null) return refuse('token_revoked', undefined, { revoked })
  const { id, provider } = resource
  return view.isRevoked(provider === null ? [id] : [id, provider]) === null ? ok({}) : refuse('token_revoked')
}

function requireFreshView({ with: { view } }: Start): Result<object> {
  const unfit = view.unfit()
  return unfit === null ? ok({}) : refuse('revocation_view_stale', unfit)
}

async function reserveOnce(so: Has<'mandate' | 'resource'>): Promise<Result<Reservation>> {
  return so.mandate.claims.once === true || so.resource.once ? reserve(so) : ok({ reserved: null })
}

function matchOperation({ call, zone, resource }: Has<'zone' | 'resource'>): Result<Pick<CallFacts, 'match'>> {
  const index = zone.operations.get(resource.id)
  if (!index?.ok) return refuse('policy_unavailable', 'the operations of the resource cannot be read')
  const match = index.value.match(call.method, call.path)
  return match.ok ? ok({ match: match.value }) : match
}

function holdScope({ mandate, match }: Has<'mandate' | 'match'>): Result<object> {
  return mandate.scopes.has(match.scope) ? ok({}) : refuse('insufficient_scope', match.scope, { scope: match.scope })
}

/** A decision that no call changes is remembered for this mandate and this state of the zone (P-030, P-075). */
async function decideScope(
  so: Has<'mandate' | 'zone' | 'resource' | 'application' | 'match'>,
): Promise<Result<Pick<CallFacts, 'decision' | 'callReads'>>> {
  const { zone, mandate, resource, match } = so
  if (zone.policy.kind === 'failed') return refuse('policy_unavailable')
  const policies = zone.policy.kind === 'active' ? zone.policy.compiled : null
  const callReads = policies?.callReads(resource.identifier, match.scope) ?? []
  const remembered = zone.decisions.get(mandate)?.get(match.scope)
  if (remembered !== undefined) return ok({ decision: remembered, callReads })

  const readsBody = callReads.some((read) => read === 'operation.body' || read === 'operation.*')
  const decision = decide(policies, callInput(so, readsBody ? await so.call.body() : undefined))
  if (!decision.perCall) {
    const decisions = zone.decisions.get(mandate) ?? new Map<string, Decision>()
    zone.decisions.set(mandate, decisions.set(match.scope, decision))
  }
  return ok({ decision, callReads })
}

/** The effect, and the limits of the rules active now: they hold at use as they did at mint (P-030). */
async function applyLimits(so: Has<'mandate' | 'resource' | 'decision'> & Reservation): Promise<Result<object>> {
  const { decision, mandate } = so
  if (decision.effect === 'deny') return refuse(decision.reason)
  if (decision.limits.senderConstrained && mandate.claims.cnf === undefined) return refuse('sender_constraint_required')
  if (endOf(mandate.claims, decision) <= so.now / 1000) return refuse('token_expired', 'a rule allows a shorter life')
  if (decision.effect === 'hold') return refuse(decision.reason)
  return decision.limits.once && so.reserved === null ? reserve(so) : ok({})
}

function checkLineageAgain(so: Has<'mandate' | 'resource'>): Result<object> {
  const lineage = checkLineage(so)
  return lineage.ok ? requireFreshView(so) : lineage
}

/** One call per mandate at all replicas; the owner is the request, so a repeated claim of its own is no replay (P-017). */
async function reserve({ call, mandate, now, with: { claim } }: Has<'mandate'>): Promise<Result<Reservation>> {
  const { jti, zone, exp } = mandate.claims
  const key = `once:${zone}:${jti}`
  try {
    const got = await claim(key, call.requestId, Math.ceil(exp - now / 1000) + CLOCK_SKEW)
    return got ? ok({ reserved: key }) : refuse('token_replayed')
  } catch {
    return refuse('store_unavailable')
  }
}

async function readAnew(zone: ZoneState, { refresh, state }: CallDependencies): Promise<ZoneState> {
  await refresh?.(zone.snapshot.id)
  return state.zone(zone.snapshot.id) ?? zone
}

function endOf(claims: { readonly iat: UnixSeconds; readonly exp: UnixSeconds }, decision: Decision): UnixSeconds {
  const most = decision.effect === 'deny' ? undefined : decision.limits.maxTtl
  return most === undefined ? claims.exp : Math.min(claims.exp, claims.iat + most)
}

function callInput(so: Has<'mandate' | 'zone' | 'resource' | 'application' | 'match'>, body: unknown): CallInput {
  const { call, now, mandate, zone, application, match } = so
  const { claims } = mandate
  const leaf = claims.ses?.at(-1)
  return {
    phase: 'call',
    zone: zone.snapshot,
    application,
    ...(isId('subject', claims.sub) && claims.ctx?.subject !== undefined ? { subject: { id: claims.sub, ...claims.ctx.subject } } : {}),
    ...(leaf !== undefined && claims.ctx?.session !== undefined ? { session: { id: leaf, ...claims.ctx.session } } : {}),
    ...(claims.dlg === undefined ? {} : { delegation: { depth: claims.dlg.length } }),
    resource: so.resource,
    scope: match.scope,
    mandate: { ttl: claims.exp - claims.iat, once: claims.once === true, senderConstrained: claims.cnf !== undefined },
    operation: {
      method: call.method,
      path: `/${call.path.segments.map(canonicalSegment).join('/')}`,
      template: match.template ?? '',
      params: match.params,
      query: call.query,
      headers: call.headers,
      body,
      tool: '',
      arguments: undefined,
    },
    request: { time: now, peer: call.peer },
  }
}
