import { type Decision, formatScopes, type MintInput, ok, type Result, type RuleLimits, refuse, type Scope } from '@caracal/core'
import { decideForAll, type Narrowed, principalFacts, standingFacts } from '@caracal/enforcement'
import type { AuthenticatedClient } from '../client/authenticate-client.ts'
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
 * Step 7, phase `mint`: policy for the caller and for everybody on whose authority it acts, for each scope. A scope that was named
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

  const facts = factsOf(at)
  const principals = principalFacts(at.lineage.authority, (id) => at.client.zone.clients.get(id)?.application)
  for (const scope of at.asked.scopes) {
    const decision = decideForAll(policies.value, { ...facts, scope }, principals)
    if (decision.effect === 'deny') {
      if (at.asked.explicit) return denial(at, scope, decision)
      refused ??= { scope, decision }
      continue
    }
    limits.push(decision.limits)
    for (const rule of decision.rules) rules.add(rule)
    if (decision.effect === 'hold') held.push({ scope, rules: decision.rules })
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

/** What of the facts does not depend on the scope. */
function factsOf(at: At): Omit<MintInput, 'scope'> {
  const { application, zone } = at.client
  return {
    ...standingFacts(at.lineage.authority),
    phase: 'mint',
    zone: zone.snapshot,
    application,
    resource: resourceFacts(at.target),
    mandate: { ttl: at.request.ttl ?? at.target.defaultLife, once: at.request.once || at.target.once, senderConstrained: false },
    ...(at.target.resource === undefined ? { builtIn: true as const } : {}),
  }
}

function resourceFacts({ resource, identifier }: Target): MintInput['resource'] {
  return resource ?? { id: 'built-in', name: 'caracal', identifier, kind: 'built-in' }
}
