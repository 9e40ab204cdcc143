import { ok, type Result, refuse, type Scope } from '@caracal/core'
import { givingBack } from './giving-back.ts'
import type { CallDependencies, CallFacts, CallVerdict, GovernedCall } from './governed-call.ts'
import {
  applyLimits,
  bindSender,
  callerFacts,
  checkMandateLineage,
  decideAsAll,
  findApplication,
  type Has,
  type Reservation,
  requireConfiguration,
  requireFreshView,
  reserve,
  type Start,
  verifyMandate,
} from './mandate-steps.ts'
import { pipeline } from './pipeline.ts'

/** A call to a service of Caracal itself, whose route row names the scope. Bodies are not shown to conditions. */
export type OwnCall = Pick<GovernedCall, 'requestId' | 'proof' | 'method' | 'peer'> & {
  readonly token: string
  readonly scope: Scope
  readonly path: string
  readonly template: string
  readonly params: Readonly<Record<string, string>>
}

export type OwnCallFacts = Pick<CallFacts, 'now' | 'mandate' | 'zone' | 'application' | 'decision'>

type OwnStart = Start & { readonly call: OwnCall }

/** As for a resource, with the built-in one: its audience is the zone's issuer, it needs no allow, a deny or hold still counts. */
const steps = pipeline<OwnStart>()
  .step(requireConfiguration)
  .step(verifyMandate)
  .step(bindSender)
  .step(checkOwnAudience)
  .step(findApplication)
  .step(checkMandateLineage)
  .step(requireFreshView)
  .step(reserveOnce)
  .step(holdScope)
  .step(decideOwnScope)
  .step(applyLimits)
  .step(checkMandateLineage) // what was revoked while something above was awaited
  .step(requireFreshView)

/** Decides a call to one of our own services (the Coordinator's sessions and delegations) as any other call is decided. */
export function decideOwnCall(call: OwnCall, dependencies: CallDependencies): Promise<CallVerdict<OwnCallFacts>> {
  return givingBack<OwnCallFacts>(call, dependencies, (start) => steps.run({ ...start, call }))
}

function checkOwnAudience({ mandate, zone }: Has<'mandate' | 'zone'>): Result<object> {
  return zone.keyring.issuers.has(mandate.claims.aud) ? ok({}) : refuse('wrong_audience')
}

async function reserveOnce(so: Has<'mandate'>): Promise<Result<Reservation>> {
  return so.mandate.claims.once === true ? reserve(so) : ok({ reserved: null })
}

function holdScope({ call, mandate }: OwnStart & Has<'mandate'>): Result<object> {
  return mandate.scopes.has(call.scope) ? ok({}) : refuse('insufficient_scope', call.scope, { scope: call.scope })
}

function decideOwnScope(so: OwnStart & Has<'mandate' | 'zone' | 'application'>): Result<Pick<CallFacts, 'decision'>> {
  const { call, now, zone, application } = so
  if (zone.policy.kind === 'failed') return refuse('policy_unavailable')
  const decision = decideAsAll(zone.policy.kind === 'active' ? zone.policy.compiled : null, so, {
    ...callerFacts(so),
    phase: 'call',
    application,
    resource: { id: 'built-in', name: 'caracal', identifier: zone.snapshot.issuer, kind: 'built-in' },
    builtIn: true,
    scope: call.scope,
    operation: {
      method: call.method,
      path: call.path,
      template: call.template,
      params: call.params,
      query: {},
      headers: {},
      body: undefined,
      tool: '',
      arguments: undefined,
    },
    request: { time: now, peer: call.peer },
  })
  return ok({ decision })
}
