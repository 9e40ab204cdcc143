import { Activation } from './activation.ts'
import type { CompiledPolicies, CompiledRule } from './compile.ts'
import { evaluateCondition } from './condition.ts'
import type { DecisionInput } from './decision-input.ts'
import type { RuleApproval, RuleLimits } from './document.ts'

export type DenyReason = 'no_rule_allows' | 'denied_by_rule' | 'condition_failed' | 'contradictory_holds' | 'no_active_policy'

/** A condition that could not be evaluated: the rule, and what went wrong without any value of the request. */
export type FailedCondition = { readonly rule: string; readonly failure: string }

type Shared = {
  /** Rules that decided, `policy/rule`, in order. */
  readonly rules: readonly string[]
  readonly failed: readonly FailedCondition[]
  /** Whether another call of the same application at the same resource could be decided otherwise: then it must not be cached. */
  readonly perCall: boolean
}

/** What is decided about one scope. */
export type Decision =
  | (Shared & {
      readonly effect: 'allow'
      readonly reason: null
      /** The strictest of every rule that allows it. */
      readonly limits: RuleLimits
      /** At mint: only rules that wait for the call allow it, the call phase decides. */
      readonly deferred: boolean
    })
  | (Shared & {
      readonly effect: 'hold'
      readonly reason: 'approval_required'
      readonly approval: RuleApproval
      /** What applies once it is approved. */
      readonly limits: RuleLimits
    })
  | (Shared & { readonly effect: 'deny'; readonly reason: DenyReason })

/** The name under which Caracal's own resource is allowed when no rule speaks. */
export const BUILT_IN_RULE = 'caracal/built-in'

const NO_LIMITS: RuleLimits = Object.freeze({})

type Matches = {
  readonly matched: readonly CompiledRule[]
  readonly deferred: readonly CompiledRule[]
  readonly failed: readonly FailedCondition[]
  readonly readsCall: boolean
}

const NOTHING: readonly never[] = Object.freeze([])
const NO_MATCHES: Matches = { matched: NOTHING, deferred: NOTHING, failed: NOTHING, readsCall: false }

/**
 * Decides one scope (2-model "Decide"): deny beats hold beats allow, what no rule allows is denied. Total and free of
 * order (P-028): any order of documents and rules gives the same answer. A condition that fails counts as a match for deny
 * and hold, as none for allow (P-027). At mint a condition that reads the call waits: its allow or hold counts as possible.
 * `policies` null: the zone has no active policy.
 */
export function decide(policies: CompiledPolicies | null, input: DecisionInput): Decision {
  if (policies === null) {
    return input.builtIn === true
      ? builtIn(false)
      : { effect: 'deny', reason: 'no_active_policy', rules: [], failed: NOTHING, perCall: false }
  }
  const cell = policies.candidates(input.resource.identifier, input.scope, input.application.name)
  const activation = new Activation(input)

  const denies = evaluate(cell.deny, input, activation, true)
  let perCall = denies.readsCall
  if (denies.matched.length > 0) {
    const proven = denies.failed.length < denies.matched.length
    return {
      effect: 'deny',
      reason: proven ? 'denied_by_rule' : 'condition_failed',
      rules: names(denies.matched),
      failed: denies.failed,
      perCall,
    }
  }

  const holds = evaluate(cell.hold, input, activation, true)
  perCall ||= holds.readsCall
  const allows = evaluate(cell.allow, input, activation, false)
  perCall ||= allows.readsCall
  if (holds.matched.length > 0) return held(holds, [...allows.matched, ...allows.deferred], perCall)

  if (allows.matched.length > 0) {
    const all = allows.deferred.length === 0 ? allows.matched : [...allows.matched, ...allows.deferred]
    return {
      effect: 'allow',
      reason: null,
      rules: names(allows.matched),
      failed: allows.failed,
      perCall,
      limits: mergeLimits(all),
      deferred: false,
    }
  }
  if (input.builtIn === true) return builtIn(perCall)
  const possible = [...allows.deferred, ...holds.deferred]
  if (possible.length > 0) {
    const limits = mergeLimits(possible)
    return { effect: 'allow', reason: null, rules: names(possible), failed: allows.failed, perCall, limits, deferred: true }
  }
  if (allows.failed.length > 0) {
    return { effect: 'deny', reason: 'condition_failed', rules: allows.failed.map(({ rule }) => rule), failed: allows.failed, perCall }
  }
  return { effect: 'deny', reason: 'no_rule_allows', rules: [], failed: NOTHING, perCall }
}

/**
 * What several parties may do together: what all of them may. A denial of one denies, a hold of one holds, and the limits of
 * all apply. `decisions` are about the same scope of the same request; at least one.
 */
export function decideTogether(decisions: readonly [Decision, ...Decision[]]): Decision {
  const [first, ...others] = decisions
  if (others.length === 0) return first
  const denied = decisions.find((one) => one.effect === 'deny')
  const perCall = decisions.some((one) => one.perCall)
  if (denied !== undefined) return { ...denied, perCall }
  const granting = decisions.filter((one) => one.effect !== 'deny')
  const rules = [...new Set(decisions.flatMap((one) => one.rules))]
  const shared = { rules, failed: decisions.flatMap((one) => one.failed), perCall }
  const limits = strictest(granting.map((one) => one.limits))
  const holds = granting.filter((one) => one.effect === 'hold')
  if (holds.length === 0) {
    const deferred = granting.some((one) => one.effect === 'allow' && one.deferred)
    return { effect: 'allow', reason: null, limits, deferred, ...shared }
  }
  const approval = mergeApprovals(holds.map((one) => one.approval))
  if (approval === null) return { effect: 'deny', reason: 'contradictory_holds', ...shared }
  return { effect: 'hold', reason: 'approval_required', approval, limits, ...shared }
}

function evaluate(rules: readonly CompiledRule[], input: DecisionInput, activation: Activation, failureMatches: boolean): Matches {
  if (rules.length === 0) return NO_MATCHES
  const matched: CompiledRule[] = []
  const deferred: CompiledRule[] = []
  const failed: FailedCondition[] = []
  let readsCall = false
  for (const rule of rules) {
    if (!rule.isFor(input)) continue
    readsCall ||= rule.readsCall
    if (rule.condition === undefined) {
      matched.push(rule)
    } else if (rule.readsCall && input.phase === 'mint') {
      deferred.push(rule)
    } else {
      const outcome = evaluateCondition(rule.condition, activation)
      if (outcome.failed !== undefined) failed.push({ rule: rule.name, failure: outcome.failed })
      if (outcome.matched || (failureMatches && outcome.failed !== undefined)) matched.push(rule)
    }
  }
  return { matched, deferred, failed, readsCall }
}

function names(rules: readonly CompiledRule[]): string[] {
  return rules.map((rule) => rule.name)
}

function builtIn(perCall: boolean): Decision {
  return { effect: 'allow', reason: null, rules: [BUILT_IN_RULE], failed: NOTHING, perCall, limits: NO_LIMITS, deferred: false }
}

function mergeLimits(rules: readonly CompiledRule[]): RuleLimits {
  return strictest(rules.flatMap((rule) => rule.limits ?? []))
}

function strictest(limits: readonly RuleLimits[]): RuleLimits {
  if (limits.length === 0) return NO_LIMITS
  const ttls = limits.flatMap((limit) => limit.maxTtl ?? [])
  return {
    ...(ttls.length > 0 ? { maxTtl: Math.min(...ttls) } : {}),
    ...(limits.some((limit) => limit.senderConstrained) ? { senderConstrained: true as const } : {}),
    ...(limits.some((limit) => limit.once) ? { once: true as const } : {}),
  }
}

/** The limits of the allow rules beside it hold as well: an approval widens nothing. */
function held(holds: Matches, allows: readonly CompiledRule[], perCall: boolean): Decision {
  const shared = { rules: names(holds.matched), failed: holds.failed, perCall }
  const approval = mergeApprovals(holds.matched.flatMap((rule) => rule.approval ?? []))
  if (approval === null) return { effect: 'deny', reason: 'contradictory_holds', ...shared }
  return { effect: 'hold', reason: 'approval_required', approval, limits: mergeLimits([...holds.matched, ...allows]), ...shared }
}

/**
 * The strictest of several approvals: who all of them accept, the shortest wait, another person if any asks for one.
 * `null` when they contradict each other: different tiers, or nobody whom all accept.
 */
export function mergeApprovals(approvals: readonly RuleApproval[]): RuleApproval | null {
  const [first, ...others] = approvals
  if (first === undefined) return null
  const approvers = first.approvers.filter((approver) => others.every((other) => other.approvers.includes(approver)))
  if (approvers.length === 0 || others.some((other) => other.tier !== first.tier)) return null
  return {
    tier: first.tier,
    approvers: approvers.sort(),
    ttl: Math.min(...approvals.map((approval) => approval.ttl)),
    distinctFromRequester: approvals.some((approval) => approval.distinctFromRequester),
  }
}
