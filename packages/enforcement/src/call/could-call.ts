import type { Scope } from '@caracal/core'
import { callInput } from './decide-call.ts'
import type { CallDependencies, CallFacts, GovernedCall } from './governed-call.ts'
import { callerFacts, decideAsAll } from './mandate-steps.ts'

/**
 * Whether a caller could do something with some arguments: `yes`; `scope` when only the mandate's scopes are missing, which another
 * mandate could have; `no` when it is not declared, or the rules refuse it whatever the arguments are.
 */
export type Could = { readonly could: 'yes' | 'scope'; readonly scope: Scope } | { readonly could: 'no' }

export type Standing = Pick<CallFacts, 'call' | 'now' | 'mandate' | 'zone' | 'resource' | 'application'>

const NO: Could = { could: 'no' }

/**
 * What a list may show (P-088). A condition over arguments counts as possible, one over anything that is known now (the name, the time,
 * the caller) is evaluated: a rule that denies or does not allow this very name hides it.
 */
export function couldCall(standing: Standing, method: string, name: string, dependencies: CallDependencies): Could {
  const { resource } = standing
  // The zone as it is now: what it allowed when the caller came may be gone.
  const zone = dependencies.state.zone(standing.zone.snapshot.id) ?? standing.zone
  const index = zone.operations.get(resource.id)
  if (!index?.ok || zone.policy.kind === 'failed') return NO
  const call: GovernedCall = { ...standing.call, method, path: mcpPath(name), mcp: { tool: name, arguments: undefined } }
  const match = index.value.match(method, call.path)
  if (!match.ok) return NO
  const so = { ...standing, zone, call, match: match.value, with: dependencies }
  const { scope } = match.value
  const policies = zone.policy.kind === 'active' ? zone.policy.compiled : null
  const known = decideAsAll(policies, so, callInput(so, undefined))
  if (known.effect === 'deny' && known.reason !== 'condition_failed') return NO
  if (known.effect === 'deny') {
    const { application } = so
    const possible = decideAsAll(policies, so, { ...callerFacts(so), phase: 'mint', application, resource, scope })
    if (possible.effect === 'deny') return NO
  }
  return { could: standing.mandate.scopes.has(scope) ? 'yes' : 'scope', scope }
}

/** A name as the path of a governed call; nothing of it is a separator. */
export function mcpPath(name: string): GovernedCall['path'] {
  return { raw: name, segments: [name], encodedSeparator: /%(?:2f|5c)/i.test(name) }
}
