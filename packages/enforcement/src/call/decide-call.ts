import { type CallInput, ok, type Reason, type Result, refuse } from '@caracal/core'
import { canonicalSegment } from '../operation/path-template.ts'
import { givingBack } from './giving-back.ts'
import type { CallDependencies, CallFacts, CallVerdict, GovernedCall } from './governed-call.ts'
import { applyLimits, callerFacts, decideAsAll, type Has, type Reservation, requireFreshView, reserve } from './mandate-steps.ts'
import { checkLineage, passage, type So } from './passage.ts'
import type { Awaitable } from './pipeline.ts'
import { reserveBudget } from './reserve-budget.ts'

/** 2-model "Verify", between whoever stands at the door and evidence. Each step adds what it established or refuses with a reason. */
const steps = passage
  .step(reserveOnce)
  .step(matchOperation)
  .step(holdScope)
  .step(decideScope) // with the policy active now
  .step(applyLimits)
  .step(reserveBudget)
  .step(checkLineageAgain) // what was revoked while something above was awaited

/**
 * Decides one governed call, phase `call`. In the steady state it asks nobody: it waits only for a body that a rule reads, for the
 * claim of a single-use mandate and for a charge to budgets, which are given back when a later step refuses. A refusal is data; a
 * throw never allows.
 */
export function decideCall(call: GovernedCall, dependencies: CallDependencies): Promise<CallVerdict> {
  return givingBack(call, dependencies, (start) => steps.run({ ...start, call }))
}

function reserveOnce(so: Has<'mandate' | 'resource'>): Awaitable<Result<Reservation>> {
  const { claims, use } = so.mandate
  return claims.once === true || so.resource.once || (use !== undefined && use !== null) ? reserve(so) : UNRESERVED
}

const UNRESERVED: Result<Reservation> = ok({ reserved: null })

function matchOperation({ call, zone, resource }: So<'zone' | 'resource'>): Result<Pick<CallFacts, 'match'>> {
  const index = zone.operations.get(resource.id)
  if (!index?.ok) return refuse('policy_unavailable', 'the operations of the resource cannot be read')
  const match = index.value.match(call.method, call.path)
  return match.ok ? ok({ match: match.value }) : match
}

function holdScope({ mandate, match }: Has<'mandate' | 'match'>): Result<object> {
  return mandate.scopes.has(match.scope) ? ok({}) : refuse('insufficient_scope', match.scope, { scope: match.scope })
}

/**
 * With the policy active now: a body may take its time, so the zone is looked at again after it came. A decision that no call
 * changes is remembered for this mandate and this state of the zone (P-030, P-075).
 */
async function decideScope(
  so: So<'mandate' | 'zone' | 'resource' | 'application' | 'match'>,
): Promise<Result<Pick<CallFacts, 'zone' | 'decision' | 'callReads'>>> {
  const { call, mandate, resource, match } = so
  const active = () => so.with.state.zone(so.zone.snapshot.id) ?? so.zone
  let body: unknown
  for (let bodyRead = false; ; ) {
    const zone = active()
    if (zone.policy.kind === 'failed') return refuse('policy_unavailable')
    const policies = zone.policy.kind === 'active' ? zone.policy.compiled : null
    const callReads = policies?.callReads(resource.identifier, match.scope) ?? []
    const remembered = zone.decisions.get(mandate, match.scope)
    if (remembered !== undefined) return ok({ zone, decision: remembered, callReads })

    if (!bodyRead && callReads.some((read) => read === 'operation.body' || read === 'operation.*')) {
      body = await call.body(resource)
      bodyRead = true
      if (active() !== zone) continue
    }
    const decision = decideAsAll(policies, { ...so, zone }, callInput({ ...so, zone }, body))
    // What stands on no signed mandate is asked for once.
    if (!decision.perCall && mandate.claims.once !== true && mandate.credential === undefined)
      zone.decisions.set(mandate, match.scope, decision)
    return ok({ zone, decision, callReads })
  }
}

/**
 * Why a call that is under way would not be allowed as its zone is now, or null (P-060). Its own operation is decided again, with the
 * body that was looked at (null: there is none); one that a rule reads only now cannot be read any more, and its condition fails.
 * While the active policies cannot be loaded nothing is known, and nothing is cut: new calls are refused meanwhile.
 */
export function noLongerAllowed(facts: CallFacts, body: unknown, dependencies: CallDependencies): Reason | null {
  const zone = dependencies.state.zone(facts.zone.snapshot.id)
  if (zone === facts.zone || zone?.policy.kind === 'failed') return null
  if (zone === undefined || !zone.applications.has(facts.application.id)) return 'token_revoked'
  const resource = zone.resources.get(facts.resource.id)
  if (resource === undefined) return 'resource_unknown'
  const so = { ...facts, zone, resource, with: dependencies }
  const matched = matchOperation(so)
  if (!matched.ok) return matched.reason
  const now = { ...so, match: matched.value.match }
  const held = holdScope(now)
  if (!held.ok) return held.reason
  const policies = zone.policy.kind === 'active' ? zone.policy.compiled : null
  const decision = decideAsAll(policies, now, callInput(now, body))
  return decision.effect === 'allow' ? null : decision.reason
}

function checkLineageAgain(so: Has<'mandate' | 'resource'>): Result<object> {
  const lineage = checkLineage(so)
  return lineage.ok ? requireFreshView(so) : lineage
}

export function callInput(so: So<'mandate' | 'zone' | 'resource' | 'application' | 'match'>, body: unknown): CallInput {
  const { call, now, zone, application, match, resource } = so
  return {
    ...callerFacts(so),
    phase: 'call',
    application: zone.applications.get(application.id) ?? application,
    resource,
    scope: match.scope,
    operation: {
      method: call.method,
      path: call.mcp === undefined ? `/${call.path.segments.map(canonicalSegment).join('/')}` : call.path.raw,
      template: match.template ?? '',
      params: match.params,
      // Hardly any rule reads these: they are only made for one that does.
      get query() {
        return call.query
      },
      get headers() {
        return call.headers
      },
      body,
      tool: call.mcp?.tool ?? '',
      arguments: call.mcp?.arguments,
    },
    request: { time: now, peer: call.peer },
  }
}
