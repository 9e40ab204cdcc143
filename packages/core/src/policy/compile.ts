import { isPattern, matchesPattern, type Pattern } from '../pattern.ts'
import { type CompiledCondition, type Condition, compileCondition } from './condition.ts'
import type { DecisionFacts } from './decision-input.ts'
import type { KnownParts } from './direct-condition.ts'
import type { PolicyDocument, PolicyRule, RuleApproval, RuleEffect, RuleLimits, RuleSubject } from './document.ts'
import type { PolicyProblem } from './problem.ts'

/** A rule as a closure: everything that does not depend on the request is done. */
export type CompiledRule = {
  /** `policy/rule`, as decisions and evidence name it. */
  readonly name: string
  readonly effect: RuleEffect
  readonly isFor: (facts: DecisionFacts) => boolean
  readonly condition: Condition | undefined
  /** Whether its condition reads what only a call has. */
  readonly readsCall: boolean
  readonly limits: RuleLimits | undefined
  readonly approval: RuleApproval | undefined
}

/** Rules that can speak about one scope at one resource, by effect, each in the order of their names. */
export type Cell = {
  readonly deny: readonly CompiledRule[]
  readonly hold: readonly CompiledRule[]
  readonly allow: readonly CompiledRule[]
}

export type CompiledPolicies = {
  readonly rules: number
  /** Candidates for one scope at one resource, narrowed to those that could be for this application. */
  readonly candidates: (resource: string, scope: string, application: string) => Cell
  /**
   * What the rules for these scopes read of a call (`operation.body`, `request.peer`, …): what an enforcement point must
   * parse before it decides. Empty: the decision does not depend on the call.
   */
  readonly callReads: (resource: string, scope: string) => readonly string[]
}

export type Compilation =
  | { readonly ok: true; readonly value: CompiledPolicies }
  | { readonly ok: false; readonly reason: 'policy_unavailable'; readonly detail: string; readonly problems: readonly PolicyProblem[] }

type IndexedRule = { readonly rule: CompiledRule; readonly source: PolicyRule }

/** Resolved (resource, scope) pairs kept at once; resources and scopes are configuration, so this is only a guard. */
const MAX_RESOLVED = 20_000

const NO_RULES: readonly IndexedRule[] = []

/**
 * Documents as an immutable index resource → scope → rules. The cost of a decision does not grow with rules that do not
 * name the resource. Refused when a condition does not compile or two documents share a name: such a set must not be active.
 */
export function compilePolicies(documents: readonly PolicyDocument[]): Compilation {
  const problems: PolicyProblem[] = []
  const indexed: IndexedRule[] = []
  const names = new Set<string>()
  // Policies made from one template share their conditions and whom they are for: made once, they stay in the processor's cache.
  const shared: Shared = { conditions: new Map(), parts: new Map(), subjects: new Map() }
  for (const document of documents) {
    if (names.has(document.name)) problems.push({ path: document.name, message: 'two policies have this name' })
    names.add(document.name)
    for (const source of document.rules) {
      const rule = compileRule(document.name, source, shared, problems)
      if (rule !== undefined) indexed.push({ rule, source })
    }
  }
  if (problems.length > 0) {
    return {
      ok: false,
      reason: 'policy_unavailable',
      detail: problems.map(({ path, message }) => `${path}: ${message}`).join('\n'),
      problems,
    }
  }
  // Order carries no meaning; a fixed one makes equal sets of documents give equal decisions to the byte.
  indexed.sort((a, b) => (a.rule.name < b.rule.name ? -1 : a.rule.name > b.rule.name ? 1 : 0))
  return { ok: true, value: buildIndex(indexed) }
}

/** What the rules of one set have in common, by what it says. */
type Shared = {
  readonly conditions: Map<string, CompiledCondition>
  readonly parts: KnownParts
  readonly subjects: Map<string, CompiledRule['isFor']>
}

function once<T>(known: Map<string, T>, key: string, make: () => T): T {
  const value = known.get(key) ?? make()
  known.set(key, value)
  return value
}

function compileRule(policy: string, source: PolicyRule, shared: Shared, problems: PolicyProblem[]): CompiledRule | undefined {
  const name = `${policy}/${source.id}`
  const patterns = [...source.scopes, ...source.on]
  if (!patterns.every(isPattern)) {
    problems.push({ path: name, message: 'has a malformed pattern' })
    return undefined
  }
  const { when } = source
  const compiled = when === undefined ? undefined : once(shared.conditions, when, () => compileCondition(when, shared.parts))
  if (compiled?.ok === false) {
    problems.push(...compiled.problems.map(({ message }) => ({ path: `${name}.when`, message })))
    return undefined
  }
  const condition = compiled?.condition
  return {
    name,
    effect: source.effect,
    isFor: once(shared.subjects, JSON.stringify(source.for), () => subjectMatcher(source.for)),
    condition,
    readsCall: condition !== undefined && condition.callReads.length > 0,
    limits: source.limits,
    approval: source.approval,
  }
}

function subjectMatcher(subject: RuleSubject): CompiledRule['isFor'] {
  if (subject.any === true) return () => true
  const tests: CompiledRule['isFor'][] = []
  const { applications, labels, sessions, subjects } = subject
  if (applications !== undefined) tests.push((facts) => matchesAny(applications, facts.application.name))
  if (labels !== undefined) tests.push((facts) => matchesSome(labels, facts.application.labels))
  if (sessions !== undefined) tests.push((facts) => sessions.includes(facts.session?.kind ?? 'none'))
  if (subjects !== undefined) tests.push((facts) => subjects.some((wanted) => isSubject(wanted, facts.subject)))
  // A rule that names nobody is for nobody.
  const [first, ...others] = tests
  if (first === undefined) return () => false
  return others.length === 0 ? first : (facts) => tests.every((test) => test(facts))
}

function matchesAny(patterns: readonly Pattern[], text: string): boolean {
  for (const pattern of patterns) if (matchesPattern(pattern, text)) return true
  return false
}

function matchesSome(patterns: readonly Pattern[], texts: readonly string[]): boolean {
  for (const text of texts) if (matchesAny(patterns, text)) return true
  return false
}

function isSubject(wanted: NonNullable<RuleSubject['subjects']>[number], subject: DecisionFacts['subject']): boolean {
  if (subject === undefined || subject.issuer !== wanted.issuer) return false
  return Object.entries(wanted.claims ?? {}).every(([name, value]) => Object.hasOwn(subject.claims, name) && subject.claims[name] === value)
}

function buildIndex(indexed: readonly IndexedRule[]): CompiledPolicies {
  const literal = new Map<string, IndexedRule[]>()
  /** Rules with a prefix pattern: few, and matched only when a resource is first seen. */
  const prefixed: { readonly prefix: string; readonly entry: IndexedRule }[] = []
  for (const entry of indexed) {
    for (const pattern of entry.source.on) {
      if (pattern.endsWith('*')) prefixed.push({ prefix: pattern.slice(0, -1), entry })
      else literal.set(pattern, [...(literal.get(pattern) ?? []), entry])
    }
  }
  const resolved = new Map<string, Map<string, ResolvedScope>>()
  let size = 0

  const resolve = (resource: string, scope: string): ResolvedScope => {
    const known = resolved.get(resource)?.get(scope)
    if (known !== undefined) return known
    const here = new Set(literal.get(resource) ?? NO_RULES)
    for (const { prefix, entry } of prefixed) if (resource.startsWith(prefix)) here.add(entry)
    const fresh = resolveScope([...here].filter(({ source }) => matchesAny(source.scopes, scope)))
    if (size >= MAX_RESOLVED) {
      resolved.clear()
      size = 0
    }
    const scopes = resolved.get(resource) ?? new Map<string, ResolvedScope>()
    resolved.set(resource, scopes.set(scope, fresh))
    size += 1
    return fresh
  }

  return Object.freeze({
    rules: indexed.length,
    candidates: (resource: string, scope: string, application: string) => {
      const { byApplication, others } = resolve(resource, scope)
      return (byApplication.size === 0 ? undefined : byApplication.get(application)) ?? others
    },
    callReads: (resource: string, scope: string) => resolve(resource, scope).callReads,
  })
}

type ResolvedScope = {
  /** For applications that some rule names literally: those rules and the others. */
  readonly byApplication: ReadonlyMap<string, Cell>
  readonly others: Cell
  readonly callReads: readonly string[]
}

function resolveScope(entries: readonly IndexedRule[]): ResolvedScope {
  const isNamed = ({ source }: IndexedRule) => source.for.applications?.every((pattern) => !pattern.endsWith('*')) ?? false
  const named = new Set(entries.filter(isNamed).flatMap(({ source }) => source.for.applications ?? []))
  const others = entries.filter((entry) => !isNamed(entry))
  const byApplication = new Map<string, Cell>()
  for (const application of named) {
    byApplication.set(
      application,
      toCell(entries.filter((entry) => !isNamed(entry) || entry.source.for.applications?.includes(application))),
    )
  }
  const callReads = [...new Set(entries.flatMap(({ rule }) => rule.condition?.callReads ?? []))].sort()
  return { byApplication, others: toCell(others), callReads }
}

function toCell(entries: readonly IndexedRule[]): Cell {
  const rules = entries.map(({ rule }) => rule).sort((a, b) => (a.name < b.name ? -1 : 1))
  const of = (effect: RuleEffect) => rules.filter((rule) => rule.effect === effect)
  return { deny: of('deny'), hold: of('hold'), allow: of('allow') }
}
