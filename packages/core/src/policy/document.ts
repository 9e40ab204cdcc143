import type { Pattern } from '../pattern.ts'
import type { Seconds } from '../time.ts'

/** Who a rule is for. All given members must match; within a list one is enough. Exactly `{ any: true }` matches everybody. */
export type RuleSubject = {
  readonly any?: true
  /** Application names. */
  readonly applications?: readonly Pattern[]
  /** Administrator-set application labels. */
  readonly labels?: readonly Pattern[]
  readonly sessions?: readonly ('task' | 'service' | 'none')[]
  readonly subjects?: readonly { readonly issuer: string; readonly claims?: Readonly<Record<string, string>> }[]
}

export type RuleLimits = {
  readonly maxTtl?: Seconds
  readonly senderConstrained?: true
  readonly once?: true
}

export type RuleApproval = {
  readonly tier: string
  readonly approvers: readonly string[]
  readonly ttl: Seconds
  readonly distinctFromRequester: boolean
}

export type RuleEffect = 'allow' | 'hold' | 'deny'

/** One rule, as parsed: durations are seconds, defaults are filled in. */
export type PolicyRule = {
  readonly id: string
  readonly effect: RuleEffect
  readonly scopes: readonly Pattern[]
  /** Resource identifiers. */
  readonly on: readonly Pattern[]
  readonly for: RuleSubject
  /** CEL source. */
  readonly when?: string
  readonly limits?: RuleLimits
  readonly approval?: RuleApproval
}

/** A policy as data: the parsed YAML document. JSON-safe; its RFC 8785 form is what versions hash. */
export type PolicyDocument = {
  readonly kind: 'Policy'
  readonly name: string
  readonly rules: readonly PolicyRule[]
}
