import { coversPattern, matchesPattern, type Pattern } from '../pattern.ts'
import { type Condition, compileCondition } from './condition.ts'
import { mergeApprovals } from './decide.ts'
import type { PolicyDocument, PolicyRule, RuleSubject } from './document.ts'

/** What exists in the zone, by the names that rules use. */
export type KnownNames = {
  readonly applications: readonly string[]
  /** Labels that some application carries. */
  readonly labels: readonly string[]
  readonly resources: readonly { readonly identifier: string; readonly scopes: readonly string[] }[]
}

export type LintCode =
  | 'unknown_application'
  | 'unknown_label'
  | 'unknown_resource'
  | 'unknown_scope'
  | 'open_prefix'
  | 'self_declared_only'
  | 'shadowed'
  | 'contradictory_holds'

/** `error` is refused at save unless somebody insists; `warning` is shown. */
export type LintFinding = {
  readonly policy: string
  readonly rule: string
  /** E.g. `on[0]`, `for.applications[1]`. */
  readonly field: string
  readonly code: LintCode
  readonly message: string
  readonly severity: 'error' | 'warning'
}

type NamedRule = { readonly policy: string; readonly rule: PolicyRule; readonly condition: Condition | undefined }

/** Everything in these documents that parses but is likely not meant. Documents are those that are to be active together. */
export function lintPolicies(documents: readonly PolicyDocument[], known: KnownNames): readonly LintFinding[] {
  const rules: NamedRule[] = documents.flatMap((document) =>
    document.rules.map((rule) => {
      const compiled = rule.when === undefined ? undefined : compileCondition(rule.when)
      return { policy: document.name, rule, condition: compiled?.ok === true ? compiled.condition : undefined }
    }),
  )
  return [
    ...rules.flatMap((named) => unknownNames(named, known)),
    ...rules.flatMap(openPrefixes),
    ...rules.flatMap(selfDeclared),
    ...rules.flatMap((named) => shadowed(named, rules)),
    ...contradictions(rules),
  ]
}

function finding(
  { policy, rule }: NamedRule,
  field: string,
  code: LintCode,
  message: string,
  severity: LintFinding['severity'] = 'warning',
): LintFinding {
  return { policy, rule: rule.id, field, code, message, severity }
}

function unknownNames(named: NamedRule, known: KnownNames): LintFinding[] {
  const { rule } = named
  const findings: LintFinding[] = []
  const check = (patterns: readonly Pattern[], names: readonly string[], field: string, code: LintCode, what: string) => {
    for (const [at, pattern] of patterns.entries()) {
      if (names.some((name) => matchesPattern(pattern, name))) continue
      findings.push(finding(named, `${field}[${at}]`, code, `no ${what} is called ${pattern}`))
    }
  }
  check(rule.for.applications ?? [], known.applications, 'for.applications', 'unknown_application', 'application')
  check(rule.for.labels ?? [], known.labels, 'for.labels', 'unknown_label', 'label')
  const identifiers = known.resources.map(({ identifier }) => identifier)
  check(rule.on, identifiers, 'on', 'unknown_resource', 'resource')
  const here = known.resources.filter(({ identifier }) => rule.on.some((pattern) => matchesPattern(pattern, identifier)))
  // Without a known resource every scope would be unknown: one finding says enough.
  if (here.length > 0) {
    const scopes = here.flatMap((resource) => resource.scopes)
    check(rule.scopes, scopes, rule.effect, 'unknown_scope', 'scope of these resources')
  }
  return findings
}

/** `https://bank.example*` also names `https://bank.example.attacker.example`. */
function openPrefixes(named: NamedRule): LintFinding[] {
  if (named.rule.effect === 'deny') return []
  return named.rule.on.flatMap((pattern, at) => {
    if (!/^[a-z][a-z0-9+.-]*:\/\/[^/]+\*$/.test(pattern)) return []
    return [finding(named, `on[${at}]`, 'open_prefix', `${pattern} ends inside the host; end it with /* to stay on one host`)]
  })
}

/** An allow for everybody whose only narrowing is a label that the session gave itself (P-029). */
function selfDeclared(named: NamedRule): LintFinding[] {
  const { rule, condition } = named
  if (rule.effect !== 'allow' || condition === undefined || !condition.fields.has('session.labels')) return []
  const { any, applications, labels, subjects } = rule.for
  const narrowed = [applications, labels].some((patterns) => patterns !== undefined && !patterns.includes('*')) || subjects !== undefined
  const proven = [...condition.variables].some((variable) => variable === 'application' || variable === 'subject')
  if ((any !== true && narrowed) || proven) return []
  const message = 'session labels are self-declared: any application can give itself this; name applications or their labels in for'
  return [finding(named, 'when', 'self_declared_only', message, 'error')]
}

/** A rule that cannot change any decision, because a rule without condition that decides first covers it. */
function shadowed(named: NamedRule, rules: readonly NamedRule[]): LintFinding[] {
  const { rule } = named
  const by = rules.find(
    (other) => other !== named && other.condition === undefined && decidesBefore(other, named, rules) && covers(other.rule, rule),
  )
  if (by === undefined) return []
  const name = `${by.policy}/${by.rule.id}`
  const message = by.rule.effect === rule.effect ? `${name} says the same for more` : `${name} (${by.rule.effect}) always decides before it`
  return [finding(named, rule.effect, 'shadowed', message)]
}

/** Stronger effect; or the same effect without limits or approval of its own to merge, the first of equals winning. */
function decidesBefore(other: NamedRule, named: NamedRule, rules: readonly NamedRule[]): boolean {
  const strength = { allow: 0, hold: 1, deny: 2 } as const
  const [a, b] = [other.rule, named.rule]
  if (a.when !== undefined) return false
  if (a.effect !== b.effect) return strength[a.effect] > strength[b.effect] && a.effect === 'deny'
  if (b.limits !== undefined || b.effect === 'hold') return false
  const equal = b.when === undefined && covers(b, a) && a.limits === undefined
  return !equal || rules.indexOf(other) < rules.indexOf(named)
}

function covers(outer: PolicyRule, inner: PolicyRule): boolean {
  return coversAll(outer.scopes, inner.scopes) && coversAll(outer.on, inner.on) && coversSubject(outer.for, inner.for)
}

function coversAll(outer: readonly Pattern[], inner: readonly Pattern[]): boolean {
  return inner.every((narrow) => outer.some((wide) => coversPattern(wide, narrow)))
}

function coversSubject(outer: RuleSubject, inner: RuleSubject): boolean {
  if (outer.any === true) return true
  if (inner.any === true) return false
  const lists = [
    [outer.applications, inner.applications],
    [outer.labels, inner.labels],
    [outer.sessions, inner.sessions],
  ] as const
  const covered = lists.every(([wide, narrow]) => wide === undefined || (narrow !== undefined && coversAll(wide, narrow)))
  return covered && (outer.subjects === undefined || JSON.stringify(outer.subjects) === JSON.stringify(inner.subjects))
}

/** Holds that can meet in one request and have no merged form: that request would be denied (P-028). */
function contradictions(rules: readonly NamedRule[]): LintFinding[] {
  const holds = rules.filter(({ rule }) => rule.effect === 'hold')
  return holds.flatMap((a, at) =>
    holds.slice(at + 1).flatMap((b) => {
      if (!canMeet(a.rule, b.rule) || mergeApprovals([a.rule.approval, b.rule.approval].flatMap((approval) => approval ?? [])) !== null)
        return []
      const same = a.rule.approval?.tier === b.rule.approval?.tier
      const message = `contradicts ${a.policy}/${a.rule.id}: ${same ? 'no approver is accepted by both' : 'another tier'}; where both match, the request is denied`
      // With conditions they may never meet; only a request can tell.
      const sure = a.condition === undefined && b.condition === undefined
      return [finding(b, 'approval', 'contradictory_holds', message, sure ? 'error' : 'warning')]
    }),
  )
}

function canMeet(a: PolicyRule, b: PolicyRule): boolean {
  return overlap(a.scopes, b.scopes) && overlap(a.on, b.on) && subjectsCanMeet(a.for, b.for)
}

function overlap(a: readonly Pattern[], b: readonly Pattern[]): boolean {
  return a.some((one) => b.some((other) => coversPattern(one, other) || coversPattern(other, one)))
}

/** Labels never exclude each other: an application can carry both. */
function subjectsCanMeet(a: RuleSubject, b: RuleSubject): boolean {
  if (a.applications !== undefined && b.applications !== undefined && !overlap(a.applications, b.applications)) return false
  if (a.sessions !== undefined && b.sessions !== undefined && !a.sessions.some((kind) => b.sessions?.includes(kind))) return false
  const [issuersA, issuersB] = [a.subjects?.map(({ issuer }) => issuer), b.subjects?.map(({ issuer }) => issuer)]
  return issuersA === undefined || issuersB === undefined || issuersA.some((issuer) => issuersB.includes(issuer))
}
