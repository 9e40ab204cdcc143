import type { ASTNode } from '@marcbachmann/cel-js'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Activation } from './activation.ts'
import { compileCondition, evaluateCondition } from './condition.ts'
import { conditionEnvironment } from './condition-environment.ts'
import type { CallInput, DecisionInput } from './decision-input.ts'
import { directCondition, type KnownParts } from './direct-condition.ts'
import { isReadable, readable } from './readable.ts'
import { arbitraryCondition } from './test-support/arbitrary-condition.ts'
import { byLibrary } from './test-support/by-library.ts'

const CALL: CallInput = {
  phase: 'call',
  zone: { id: 'zon_1', name: 'a', labels: ['a', 'b'] },
  application: { id: 'app_1', name: 'b', labels: [] },
  subject: { id: 'sub_1', issuer: 'a', claims: { role: 'a', a: { b: 1 } } },
  resource: { id: 'res_1', name: 'r', identifier: 'https://r.example', kind: 'http' },
  scope: 'pay:out',
  mandate: { ttl: 300, once: false, senderConstrained: true },
  operation: {
    method: 'POST',
    path: '/a',
    template: '/{a}',
    params: { a: 'a' },
    query: { a: ['1', '2'], role: ['a'] },
    headers: { 'x-y': 'a', a: 'b' },
    body: { a: 1, b: 'a', list: [{ a: 2 }, { a: 'b' }] },
    tool: 'a',
    arguments: { a: true },
  },
  request: { time: Date.UTC(2026, 0, 15, 14, 30), peer: '192.0.2.1' },
}

/** What a caller may send that is not as it should be: too large, too deep, no JSON, names that mean something to JavaScript. */
const hostile = fc.constantFrom<unknown>(
  undefined,
  'a'.repeat(4097),
  2 ** 53,
  -(2 ** 60),
  Array(257).fill('a'),
  Array(20).fill('a'.repeat(4000)),
  Array(200).fill(Array(30).fill(1)),
  Object.fromEntries(Array.from({ length: 257 }, (_, at) => [`n${at}`, at])),
  JSON.parse(`${'{"a":'.repeat(20)}1${'}'.repeat(20)}`),
  JSON.parse('{"__proto__": {"a": 1, "b": "a"}, "a": {"__proto__": 1}}'),
  { constructor: 1, a: 1 },
  { constructor: { name: 'Object' }, a: { constructor: 'a' } },
  { a: { constructor: null } },
)
const plain = fc.oneof(
  fc.constantFrom<unknown>('a', 'b', '', 'é𝄞', 0, -0, 1, 1.5, 2.5, 14, 500, 600, true, false, null),
  fc.jsonValue({ maxDepth: 1 }),
)
const shaped: fc.Arbitrary<unknown> = fc.oneof(
  plain,
  fc.record({ a: plain, b: plain }, { requiredKeys: [] }),
  fc.array(fc.oneof(plain, fc.record({ a: plain, b: plain }, { requiredKeys: [] })), { maxLength: 4 }),
)
const json = fc.oneof(
  { weight: 1, arbitrary: hostile },
  { weight: 2, arbitrary: shaped },
  { weight: 6, arbitrary: fc.record({ a: fc.oneof(shaped, hostile), b: shaped, list: shaped, role: plain }, { requiredKeys: [] }) },
)
const claims = fc.record({ role: fc.oneof(plain, hostile), a: shaped }, { requiredKeys: [] })
const text = fc.oneof(fc.constantFrom('a', 'b', '', 'é'), fc.constant('a'.repeat(4097)))
const labels = fc.oneof(
  fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 3 }),
  fc.constant(Array(257).fill('a')),
  fc.constant(['a', 'a'.repeat(4097)]),
)
const count = fc.constantFrom(0, 1, 2, 3, 300, 1.5, Number.NaN)
const named = fc.record(
  { a: fc.oneof(text, fc.array(text, { maxLength: 2 })), role: text, 'x-y': text, constructor: text },
  { requiredKeys: [] },
)

const arbitraryCall: fc.Arbitrary<DecisionInput> = fc
  .record({
    labels,
    claims: fc.option(claims, { nil: undefined }),
    session: fc.option(fc.record({ labels, depth: count }), { nil: undefined }),
    depth: fc.option(count, { nil: undefined }),
    ttl: count,
    params: fc.record({ a: text, b: text }, { requiredKeys: [] }),
    query: named,
    headers: named,
    path: text,
    body: json,
    args: fc.option(claims, { nil: undefined }),
    time: fc.constantFrom(CALL.request.time, 0, 1.5, Number.NaN, 1e16),
    mint: fc.boolean(),
  })
  .map(({ labels: zoneLabels, claims: told, session, depth, ttl, params, query, headers, path, body, args, time, mint }) => {
    const { subject: _, operation, request, ...facts } = CALL
    const common = {
      ...facts,
      zone: { ...facts.zone, labels: zoneLabels },
      ...(told === undefined ? {} : { subject: { id: 'sub_1', issuer: 'a', claims: told } }),
      ...(session === undefined ? {} : { session: { id: 'ses_1' as const, kind: 'task' as const, ...session } }),
      ...(depth === undefined ? {} : { delegation: { depth } }),
      mandate: { ...facts.mandate, ttl },
    }
    if (mint && ttl === 0) return { ...common, phase: 'mint' }
    return {
      ...common,
      phase: 'call',
      operation: { ...operation, params, query, headers, path, body, arguments: args },
      request: { ...request, time },
    }
  })

function answerDirectly(source: string, input: DecisionInput): unknown {
  const run = conditionEnvironment.parse(source)
  run.check()
  return directCondition(run.ast as ASTNode, new Map())(new Activation(input))
}

describe('conditions without the library', () => {
  test('[P-027] any condition on any input: the library gives the same answer, and fails in the same way', () => {
    let [direct, settled] = [0, 0]
    fc.assert(
      fc.property(arbitraryCondition, fc.array(arbitraryCall, { minLength: 1, maxLength: 4 }), (source, inputs) => {
        const condition = compileCondition(source)
        fc.pre(condition.ok)
        if (!condition.ok) return
        for (const input of inputs) {
          const expected = byLibrary(source, input)
          expect(evaluateCondition(condition.condition, new Activation(input))).toEqual(expected)
          const answer = answerDirectly(source, input)
          if (typeof answer === 'boolean') expect({ matched: answer }).toEqual(expected)
          if (expected.failed === undefined) settled += 1
          if (typeof answer === 'boolean') direct += 1
        }
      }),
      { numRuns: 1000 },
    )
    // Otherwise the property would show nothing.
    expect(direct / settled).toBeGreaterThan(0.5)
  })

  test('several conditions of one decision share what they looked at, and answer as if each were alone', () => {
    // Parts too are shared, by all conditions of a policy set.
    const known: KnownParts = new Map()
    fc.assert(
      fc.property(fc.array(arbitraryCondition, { minLength: 2, maxLength: 5 }), arbitraryCall, (sources, input) => {
        const activation = new Activation(input)
        for (const source of sources) {
          const condition = compileCondition(source, known)
          if (condition.ok) expect(evaluateCondition(condition.condition, activation)).toEqual(byLibrary(source, input))
        }
      }),
      { numRuns: 300 },
    )
  })

  test.each([
    ['session.depth <= 2', true],
    ['delegation.depth == 0 && operation.body.a <= 500.0', true],
    ['operation.body.a > 500', false],
    ['zone.labels.exists(l, l == "b")', true],
    ['zone.labels.all(l, l in ["a", "b"])', true],
    ['"frozen" in zone.labels', false],
    ['operation.method in ["GET", "HEAD"]', false],
    ['has(operation.body.b) && operation.body.b.startsWith("a")', true],
    ['!has(operation.body.missing)', true],
    ['subject.claims.role == "a" || subject.claims["role"] == "b"', true],
    ['operation.headers["x-y"] == "a" && operation.query.role == "a"', true],
    ['has(operation.query.b) ? operation.query.b == "1" : true', true],
    ['operation.body.list.exists(i, i.a == 2.0)', true],
    ['size(operation.body.list) <= 10 && operation.body.b.size() == 1', true],
    ['request.time.getHours() >= 9 && request.time.getDayOfWeek() != 0', true],
    ['request.time < timestamp("2027-01-01T00:00:00Z")', true],
    ['!mandate.once && mandate.ttl <= 300', true],
    ['resource.kind != "mcp" && scope.endsWith(":out")', true],
  ])('%s is answered directly: %s', (source, answer) => {
    expect(answerDirectly(source, CALL)).toBe(answer)
    expect(byLibrary(source, CALL)).toEqual({ matched: answer })
  })

  test('what is readable from end to end is what would be kept as it is', () => {
    const strip = (value: unknown): unknown => (value === undefined ? undefined : JSON.parse(JSON.stringify(value)))
    fc.assert(
      fc.property(fc.oneof(json, fc.jsonValue()), (value) => {
        if (isReadable(value)) expect(strip(readable(value))).toEqual(strip(value))
      }),
    )
  })
})
