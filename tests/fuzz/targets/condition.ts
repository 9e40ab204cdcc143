import { threadCpuUsage } from 'node:process'
import fc from 'fast-check'
import { Activation } from '../../../packages/core/src/policy/activation.ts'
import { compileCondition, evaluateCondition } from '../../../packages/core/src/policy/condition.ts'
import type { CallInput } from '../../../packages/core/src/policy/decision-input.ts'
import { byLibrary } from '../../../packages/core/src/policy/test-support/by-library.ts'
import { mutatedText } from '../mutate.ts'
import { same } from '../same.ts'
import { target } from '../target.ts'

const field = fc.constantFrom(
  'zone.id',
  'zone.labels',
  'application.name',
  'subject.claims',
  'subject.claims.role',
  'session.depth',
  'session.labels',
  'delegation.depth',
  'resource.kind',
  'scope',
  'mandate.ttl',
  'mandate.once',
  'operation.path',
  'operation.params.x',
  'operation.query.q',
  'operation.headers',
  'operation.body',
  'operation.body.a',
  'operation.body.list',
  'operation.body.list[0]',
  'operation.body["a b"]',
  'operation.arguments',
  'request.time',
  'request.peer',
  'x',
  'operation.body.?a',
  'operation.body.__proto__',
  'operation.constructor',
)
const literal = fc.constantFrom(
  '1',
  '-1',
  '0',
  '1.5',
  '1e400',
  '9007199254740991',
  '9223372036854775807',
  '1u',
  'true',
  'null',
  '"a"',
  "'\\u0000'",
  'b"x"',
  '[]',
  '[1, "a"]',
  '{}',
  '{"a": 1}',
  'duration("1h")',
  'timestamp("2026-01-01T00:00:00Z")',
)

const { expression } = fc.letrec<{ expression: string }>((tie) => {
  const of = tie('expression')
  return {
    expression: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.oneof(field, literal),
      fc
        .tuple(of, fc.constantFrom('==', '!=', '<', '<=', '>', '+', '-', '*', '/', '%', 'in', '&&', '||'), of)
        .map(([a, op, b]) => `(${a} ${op} ${b})`),
      fc.tuple(fc.constantFrom('!', '-', '!!'), of).map(([op, a]) => `${op}${a}`),
      fc.tuple(of, of, of).map(([a, b, c]) => `(${a} ? ${b} : ${c})`),
      fc
        .tuple(fc.constantFrom('has', 'size', 'int', 'double', 'string', 'bool', 'dyn', 'type', 'timestamp', 'duration'), of)
        .map(([name, a]) => `${name}(${a})`),
      fc
        .tuple(of, fc.constantFrom('contains', 'startsWith', 'endsWith', 'matches', 'size', 'split', 'getHours'), of)
        .map(([a, name, b]) => `${a}.${name}(${b})`),
      fc
        .tuple(fc.oneof(field, of), fc.constantFrom('all', 'exists', 'exists_one', 'filter', 'map'), of)
        .map(([a, name, b]) => `${a}.${name}(x, ${b})`),
      fc.tuple(of, of).map(([a, b]) => `${a}[${b}]`),
    ),
  }
})
const valid = [
  'operation.body.list.exists(x, x.a == 1.0) && mandate.ttl <= 300',
  'has(operation.body.a) ? operation.body.a > 500.0 : scope.startsWith("pay:")',
  'request.time - timestamp("2026-01-15T14:00:00Z") < duration("30m") || "x" in zone.labels',
  'subject.claims.role in ["a", "b"] && operation.headers["x-y"] == "z"',
]
const body = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.record({
    a: fc.oneof(fc.jsonValue(), fc.double(), fc.maxSafeInteger()),
    list: fc.array(fc.oneof(fc.jsonValue({ maxDepth: 1 }), fc.constant({ a: 1 })), { maxLength: 6 }),
  }),
  fc.constant(undefined),
)

const SECONDS_MOST = 2

export const condition = target(
  {
    name: 'condition',
    guarantee:
      '[P-027] whatever is written as a condition is compiled or refused with a place, and what is compiled answers any body as the library does, the same each time, soon, and never by throwing',
    runs: 3000,
  },
  fc.tuple(fc.oneof({ arbitrary: expression, weight: 3 }, { arbitrary: mutatedText(valid), weight: 2 }), body),
  ([source, value]) => {
    const began = threadCpuUsage()
    const compiled = compileCondition(source)
    if (!compiled.ok) {
      const [first] = compiled.problems
      if (first === undefined || first.message === '' || !(first.offset >= 0 && first.offset <= source.length))
        throw new Error('refused without a place')
      return
    }
    const input = callWith(value)
    const outcome = evaluateCondition(compiled.condition, new Activation(input))
    same(typeof outcome.matched, 'boolean')
    if (outcome.failed !== undefined) same(outcome.matched, false, 'what failed is no match')
    same(evaluateCondition(compiled.condition, new Activation(input)), outcome, 'again')
    same(byLibrary(source, input), outcome, 'by the library')
    const { user, system } = threadCpuUsage(began)
    if (user + system > SECONDS_MOST * 1e6) throw new Error(`took ${user + system} µs`)
  },
)

function callWith(value: unknown): CallInput {
  return {
    phase: 'call',
    zone: { id: 'zon_1', name: 'zone', labels: ['a', 'b'] },
    application: { id: 'app_1', name: 'agent', labels: [] },
    resource: { id: 'res_1', name: 'r', identifier: 'https://r.example', kind: 'http' },
    scope: 'pay:out',
    mandate: { ttl: 300, once: false, senderConstrained: true },
    operation: {
      method: 'POST',
      path: '/a',
      template: '/{x}',
      params: { x: 'a' },
      query: { q: ['1', '2'] },
      headers: { 'x-y': 'z' },
      body: value,
      tool: '',
      arguments: isRecord(value) ? value : undefined,
    },
    request: { time: Date.UTC(2026, 0, 15, 14, 30), peer: '192.0.2.1' },
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
