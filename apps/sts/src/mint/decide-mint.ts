import {
  type Decision,
  type DecisionFacts,
  decide,
  formatScopes,
  ok,
  type Result,
  type RuleLimits,
  refuse,
  type Scope,
  type Session,
} from '@caracal/core'
import type { Narrowed } from '@caracal/enforcement'
import type { AuthenticatedClient } from '../client/authenticate-client.ts'
import type { ZoneState } from '../zones/zone-state.ts'
import type { LoadedLineage } from './load-lineage.ts'
import type { Target } from './resolve-resource.ts'
import type { TokenRequest } from './token-request.ts'
import type { Subject } from './verify-subject.ts'

/** What policy grants, and the strictest limits of every rule that grants it. */
export type Granted = {
  readonly scopes: ReadonlySet<Scope>
  readonly limits: readonly RuleLimits[]
  /** Rules that decided, for the evidence. */
  readonly rules: readonly string[]
  /** Set when a human must agree first. */
  readonly held: { readonly scopes: readonly Scope[]; readonly rules: readonly string[] } | undefined
}

type At = {
  readonly client: AuthenticatedClient
  readonly request: TokenRequest
  readonly subject: Subject
  readonly lineage: LoadedLineage
  readonly target: Target
  readonly asked: Narrowed
}

/**
 * Step 7, phase `mint`: policy for the caller and for every Application that delegated, for each scope. A scope that was named
 * must be allowed; when none was, those that are allowed are granted. A hold of something named waits for a human.
 */
export function decideMint(_desk: unknown, at: At): Result<{ readonly granted: Granted }> {
  const { policies } = at.client.zone
  if (!policies.ok) return refuse('policy_unavailable')
  const granted = new Set<Scope>()
  const limits: RuleLimits[] = []
  const rules = new Set<string>()
  const held: { scope: Scope; rules: readonly string[] }[] = []
  let refused: { readonly scope: Scope; readonly decision: Extract<Decision, { effect: 'deny' }> } | undefined

  for (const scope of at.asked.scopes) {
    const facts = decisionFacts(at, scope)
    if (facts === undefined) return refuse('delegation_not_usable')
    const decisions = facts.map((one) => decide(policies.value, { ...one, phase: 'mint' }))
    const denied = decisions.find((one) => one.effect === 'deny')
    if (denied !== undefined) {
      if (at.asked.explicit) return denial(at, scope, denied)
      refused ??= { scope, decision: denied }
      continue
    }
    for (const decision of decisions) {
      if (decision.effect === 'deny') continue
      limits.push(decision.limits)
      for (const rule of decision.rules) rules.add(rule)
    }
    const holding = decisions.filter((one) => one.effect === 'hold')
    if (holding.length > 0) held.push({ scope, rules: holding.flatMap((one) => one.rules) })
    else granted.add(scope)
  }

  const waits = at.asked.explicit ? held.length > 0 : granted.size === 0 && held.length > 0
  if (granted.size === 0 && !waits) {
    return refused === undefined ? refuse('no_rule_allows') : denial(at, refused.scope, refused.decision)
  }
  return ok({
    granted: {
      scopes: granted,
      limits,
      rules: [...rules].sort(),
      held: waits ? { scopes: held.map((one) => one.scope), rules: held.flatMap((one) => one.rules) } : undefined,
    },
  })
}

function denial(at: At, scope: Scope, decision: Extract<Decision, { effect: 'deny' }>): Result<never> {
  return refuse(
    decision.reason,
    `${formatScopes([scope])} at ${at.target.identifier}`,
    decision.rules.length > 0 ? { rules: decision.rules } : undefined,
  )
}

/**
 * The facts for the caller, then for each delegator in its own session: authority is what all of them have. Undefined when a delegator
 * is gone since its delegation was looked at.
 */
function decisionFacts(at: At, scope: Scope): DecisionFacts[] | undefined {
  const { zone } = at.client
  const shared = {
    zone: { id: zone.snapshot.id, name: zone.snapshot.name, labels: zone.snapshot.labels },
    resource: resourceFacts(at.target, zone),
    scope,
    mandate: { ttl: at.request.ttl ?? at.target.defaultLife, once: at.request.once || at.target.once, senderConstrained: false },
    ...(at.target.resource === undefined ? { builtIn: true as const } : {}),
  }
  const own = at.client.application
  const facts: DecisionFacts[] = [
    {
      ...shared,
      application: { id: own.id, name: own.name, labels: own.labels },
      ...sessionFacts(at.lineage.session),
      ...(at.lineage.chain.length > 0 ? { delegation: { depth: at.lineage.chain.length } } : {}),
    },
  ]
  for (const [depth, { application, session }] of at.lineage.delegators.entries()) {
    const delegator = zone.clients.get(application)?.application
    if (delegator === undefined) return undefined
    facts.push({
      ...shared,
      application: { id: delegator.id, name: delegator.name, labels: delegator.labels },
      ...sessionFacts(session),
      ...(depth > 0 ? { delegation: { depth } } : {}),
    })
  }
  return facts
}

function sessionFacts(session: Session | undefined): Pick<DecisionFacts, 'session' | 'subject'> {
  if (session === undefined) return {}
  return {
    session: { id: session.id, kind: session.kind, labels: session.labels, depth: session.lineage.length },
    ...(session.subject === null ? {} : { subject: { id: session.subject, issuer: '', claims: {} } }),
  }
}

function resourceFacts({ resource, identifier }: Target, zone: ZoneState): DecisionFacts['resource'] {
  return resource === undefined
    ? { id: 'built-in', name: zone.snapshot.name, identifier, kind: 'built-in' }
    : { id: resource.id, name: resource.name, identifier, kind: resource.kind }
}
