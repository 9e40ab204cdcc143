import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { newId } from '../id.ts'
import { type CompiledPolicies, compilePolicies } from './compile.ts'
import { decide } from './decide.ts'
import type { CallInput, MintInput } from './decision-input.ts'
import type { PolicyDocument, PolicyRule, RuleEffect } from './document.ts'

const RESOURCES = ['https://a.example', 'https://b.example']
const SCOPES = ['s:read', 's:write']
const CONDITIONS = [
  undefined,
  'operation.body.n > 1.0',
  'session.depth == 0',
  'subject.claims.missing == 1',
  'operation.body.missing == 1.0',
]

const arbitraryRule: fc.Arbitrary<Omit<PolicyRule, 'id'>> = fc
  .record({
    effect: fc.constantFrom<RuleEffect>('allow', 'allow', 'hold', 'deny'),
    scopes: fc.subarray([...SCOPES, 's:*', '*'], { minLength: 1 }),
    on: fc.subarray([...RESOURCES, 'https://a*', '*'], { minLength: 1 }),
    for: fc.constantFrom({ any: true as const }, { applications: ['agent'] }, { applications: ['other'] }, { labels: ['l*'] }),
    when: fc.constantFrom(...CONDITIONS),
    tier: fc.constantFrom('t', 'u'),
    ttl: fc.constantFrom(60, 120),
  })
  .map(({ when, tier, ttl, effect, ...rule }) => ({
    ...rule,
    effect,
    ...(when === undefined ? {} : { when }),
    ...(effect === 'allow' ? { limits: { maxTtl: ttl } } : {}),
    ...(effect === 'hold' ? { approval: { tier, approvers: ['role:approver'], ttl, distinctFromRequester: true } } : {}),
  }))

const arbitraryRules = fc
  .array(arbitraryRule, { maxLength: 8 })
  .map((rules) => rules.map((rule, at): PolicyRule => ({ id: `r${at}`, ...rule })))

function compiled(documents: readonly PolicyDocument[]): CompiledPolicies {
  const result = compilePolicies(documents)
  if (!result.ok) throw new Error(result.detail)
  return result.value
}

/** The rules cut into documents of their own: names stay unique, so the pieces can stand in any order. */
function pieces(rules: readonly PolicyRule[]): PolicyDocument[] {
  return rules.map((rule) => ({ kind: 'Policy', name: `p-${rule.id}`, rules: [rule] }))
}

const MINT: MintInput = {
  phase: 'mint',
  zone: { id: newId('zone', 0), name: 'z', labels: [] },
  application: { id: newId('application', 0), name: 'agent', labels: ['l1'] },
  resource: { id: newId('resource', 0), name: 'a', identifier: 'https://a.example', kind: 'http' },
  scope: 's:read',
  mandate: { ttl: 300, once: false, senderConstrained: false },
}
const CALL: CallInput = {
  ...MINT,
  phase: 'call',
  operation: { method: 'GET', path: '/', template: '', params: {}, query: {}, headers: {}, body: { n: 2 }, tool: '', arguments: {} },
  request: { time: 0, peer: '' },
}

describe('deciding', () => {
  test('[P-028] the order of documents and rules carries no meaning', () => {
    fc.assert(
      fc.property(arbitraryRules, fc.infiniteStream(fc.nat()), (rules, order) => {
        const shuffled = pieces(rules)
          .map((piece) => [order.next().value, piece] as const)
          .sort(([a], [b]) => a - b)
          .map(([, piece]) => piece)
        for (const input of [MINT, CALL]) expect(decide(compiled(shuffled), input)).toEqual(decide(compiled(pieces(rules)), input))
      }),
    )
  })

  test('[P-028] it is total, and adding a rule never weakens by deny or hold nor strengthens by allow', () => {
    const width = { deny: 0, hold: 1, allow: 2 }
    fc.assert(
      fc.property(arbitraryRules, arbitraryRule, fc.constantFrom(MINT, CALL), (rules, more, input) => {
        const before = decide(compiled(pieces(rules)), input)
        const after = decide(compiled(pieces([...rules, { id: 'more', ...more }])), input)
        if (more.effect === 'deny') expect(width[after.effect]).toBeLessThanOrEqual(width[before.effect])
        if (more.effect === 'allow') expect(width[after.effect]).toBeGreaterThanOrEqual(width[before.effect])
        // A hold can lift a plain refusal to a question, but never past one.
        if (more.effect === 'hold' && input.phase === 'call')
          expect(width[after.effect]).toBeLessThanOrEqual(Math.max(1, width[before.effect]))
      }),
    )
  })

  test('[P-030] what the call allows, mint did not refuse, and its limits are no stricter than at mint', () => {
    fc.assert(
      fc.property(arbitraryRules, (rules) => {
        const policies = compiled(pieces(rules))
        const [mint, call] = [decide(policies, MINT), decide(policies, CALL)]
        if (call.effect !== 'allow') return
        expect(mint.effect).toBe('allow')
        if (mint.effect === 'allow') expect(mint.limits.maxTtl ?? 900).toBeLessThanOrEqual(call.limits.maxTtl ?? 900)
      }),
    )
  })

  test('a decision that is not per call is the same for every call', () => {
    fc.assert(
      fc.property(arbitraryRules, fc.jsonValue(), (rules, body) => {
        const policies = compiled(pieces(rules))
        const decision = decide(policies, CALL)
        if (decision.perCall) return
        expect(decide(policies, { ...CALL, operation: { ...CALL.operation, body } })).toEqual(decision)
      }),
    )
  })

  test('[P-029] labels that a session gives itself change no decision of rules about application labels', () => {
    fc.assert(
      fc.property(arbitraryRules, fc.array(fc.string()), (rules, labels) => {
        const policies = compiled(pieces(rules))
        const session = { id: newId('session', 0), kind: 'task' as const, labels: [] as string[], depth: 1 }
        const forged = { ...session, labels: [...labels, 'l1', 'l2'] }
        expect(decide(policies, { ...CALL, session: forged })).toEqual(decide(policies, { ...CALL, session }))
      }),
    )
  })

  test('[P-025] no active policy denies under its own reason', () => {
    expect(decide(null, MINT)).toMatchObject({ effect: 'deny', reason: 'no_active_policy', rules: [] })
    expect(decide(compiled([]), MINT)).toMatchObject({ effect: 'deny', reason: 'no_rule_allows' })
    expect(decide(null, { ...MINT, builtIn: true })).toMatchObject({ effect: 'allow', rules: ['caracal/built-in'] })
  })

  test('a set with a condition that does not compile or a name that stands twice cannot be compiled', () => {
    const rule: PolicyRule = { id: 'r', effect: 'allow', scopes: ['s'], on: ['*'], for: { any: true }, when: 'zone.id == 1' }
    const broken = compilePolicies([{ kind: 'Policy', name: 'p', rules: [rule] }])
    expect(broken).toMatchObject({ ok: false, reason: 'policy_unavailable', detail: 'p/r.when: no such overload: string == int' })
    const empty: PolicyDocument = { kind: 'Policy', name: 'p', rules: [] }
    expect(compilePolicies([empty, empty])).toMatchObject({ ok: false, detail: 'p: two policies have this name' })
  })

  test('what must be parsed of a call before it can be decided is known per resource and scope', () => {
    const rule: PolicyRule = {
      id: 'r',
      effect: 'allow',
      scopes: ['s:*'],
      on: ['https://a*'],
      for: { any: true },
      when: 'operation.body.n > 1.0',
    }
    const policies = compiled(pieces([rule]))
    expect(policies.callReads('https://a.example', 's:read')).toEqual(['operation.body'])
    expect(policies.callReads('https://b.example', 's:read')).toEqual([])
  })
})
