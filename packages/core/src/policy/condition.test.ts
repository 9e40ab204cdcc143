import { describe, expect, test } from 'vitest'
import { Activation } from './activation.ts'
import { compileCondition, evaluateCondition } from './condition.ts'
import type { CallInput } from './decision-input.ts'

function problem(source: string): string {
  const compiled = compileCondition(source)
  return compiled.ok ? 'ok' : compiled.problems.map(({ message }) => message).join('; ')
}

function condition(source: string) {
  const compiled = compileCondition(source)
  if (!compiled.ok) throw new Error(problem(source))
  return compiled.condition
}

function call(body: unknown, more: Partial<CallInput> = {}): Activation {
  return new Activation({
    phase: 'call',
    zone: { id: 'zon_1', name: 'zone', labels: ['a', 'frozen'] },
    application: { id: 'app_1', name: 'agent', labels: [] },
    resource: { id: 'res_1', name: 'r', identifier: 'https://r.example', kind: 'http' },
    scope: 's',
    mandate: { ttl: 300, once: false, senderConstrained: true },
    operation: {
      method: 'POST',
      path: '/a',
      template: '/{x}',
      params: { x: 'a' },
      query: {},
      headers: {},
      body,
      tool: '',
      arguments: undefined,
    },
    request: { time: Date.UTC(2026, 0, 15, 14, 30), peer: '192.0.2.1' },
    ...more,
  })
}

describe('[P-027] what is refused when a condition is saved', () => {
  test.each([
    ['syntax', 'zone.id ==', 'Unexpected token: EOF'],
    ['an unknown variable', 'user.id == "x"', 'Unknown variable: user'],
    ['an unknown field', 'zone.label == "x"', 'No such key: label'],
    ['a type error', 'zone.id == 1', 'no such overload: string == int'],
    ['a type error inside a macro', 'zone.labels.exists(l, l > 1)', 'no such overload: string > int'],
    ['no truth value', 'zone.id', 'a condition is true or false, this one is string'],
    ['a regular expression', 'zone.id.matches("(a+)+$")', 'matches() is not offered in conditions'],
    ['a binding', 'cel.bind(x, zone.id, x == "a")', 'bind() is not offered in conditions'],
    ['a time zone', 'request.time.getHours("Europe/Berlin") > 8', 'getHours() takes 0 argument(s)'],
    ['splitting', '"a,b".split(",").size() == 2', 'split() is not offered in conditions'],
    ['an inherited name', 'zone.id.toString() == "a"', 'toString() is not offered in conditions'],
    ['a call of an inherited name', 'constructor(zone.id) == "a"', 'constructor() is not offered in conditions'],
    ['a literal beyond 2^53', 'operation.body.id == 9007199254740993', 'a number in a condition is at most 2^53 - 1'],
    ['a double beyond 2^53', 'operation.body.id == 9007199254740993.0', 'a number in a condition is at most 2^53 - 1'],
    [
      'three macros inside each other',
      'zone.labels.all(a, zone.labels.all(b, zone.labels.all(c, a == c)))',
      'at most 2 macros inside each other',
    ],
    [
      'a macro over a sum of lists',
      '(zone.labels + zone.labels).all(a, a == "x")',
      'all() runs over a field, a list literal, filter() or map()',
    ],
    [
      'more steps than allowed',
      Array(3).fill('zone.labels.all(a, zone.labels.all(b, a == b && a != "x" && b != "y"))').join(' && '),
      'could take',
    ],
    ['size', `zone.id == "${'x'.repeat(4096)}"`, 'a condition has at most 4096 bytes'],
    ['nesting', `${'('.repeat(60)}true${')'.repeat(60)}`, 'Exceeded maxDepth'],
    ['a long list', `zone.id in [${Array(129).fill('"a"').join()}]`, 'Exceeded maxListElements'],
    ['many nodes', Array(300).fill('true').join('||'), 'Exceeded maxAstNodes'],
  ])('%s', (_what, source, message) => {
    expect(problem(source)).toContain(message)
  })
})

describe('what a condition sees', () => {
  test.each([
    ['scope == "s" && resource.kind == "http" && resource.identifier.startsWith("https://r.")', true],
    ['mandate.ttl == 300 && !mandate.once && mandate.senderConstrained', true],
    ['subject.id == "" && subject.issuer == "" && size(subject.claims) == 0', true],
    ['session.id == "" && session.kind == "none" && session.labels == [] && session.depth == 0', true],
    ['zone.labels.exists(l, l == "frozen")', true],
    ['zone.labels.filter(l, l != "a").size() == 1', true],
    ['operation.params.x == "a" && operation.template == "/{x}" && operation.path == "/a"', true],
    ['request.time.getHours() == 14 && request.time < timestamp("2026-01-15T15:00:00Z")', true],
    ['request.time - timestamp("2026-01-15T14:00:00Z") == duration("30m")', true],
    ['request.peer == "192.0.2.1"', true],
    ['operation.body.amount == 12 && operation.body.amount <= 12.0', true],
    ['has(operation.body.amount) && !has(operation.body.other)', true],
    ['operation.body.items.all(i, i.price < 10.0)', true],
    ['operation.body.items[1].tags.exists(t, t == "b")', true],
    ['"x" in ["x", "y"]', true],
  ])('%s is %s', (source, expected) => {
    const body = {
      amount: 12,
      items: [
        { price: 1, tags: [] },
        { price: 2, tags: ['a', 'b'] },
      ],
    }
    expect(evaluateCondition(condition(source), call(body))).toEqual({ matched: expected })
  })

  test('which parts of a call it reads is known beforehand', () => {
    expect(condition('operation.body.a == 1.0 && operation.method == "GET" && request.peer != ""').callReads).toEqual([
      'operation.body',
      'operation.method',
      'request.peer',
    ])
    expect(condition('session.labels.exists(operation, operation == "x")').callReads).toEqual([])
  })
})

describe('[P-027] hostile values at run time fail the condition and stay cheap', () => {
  const deep = JSON.parse(`${'{"a":'.repeat(50)}1${'}'.repeat(50)}`)
  test.each([
    ['a long list', 'operation.body.x.size() > 0', { x: Array(257).fill(1) }],
    ['a long string', 'operation.body.x.contains("a")', { x: 'a'.repeat(4097) }],
    ['a large map', 'size(operation.body.x) > 0', { x: Object.fromEntries(Array.from({ length: 257 }, (_, i) => [i, i])) }],
    ['deep nesting', 'operation.body.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a == 1.0', deep],
    ['an integer beyond 2^53', 'operation.body.x == 1.0', { x: 2 ** 53 }],
    ['a double beyond 2^53', 'operation.body.x > 1.0', { x: 1e300 }],
    ['the constructor', 'operation.body.constructor == 1.0', {}],
    ['a prototype', 'operation.body.__proto__.x == 1.0', JSON.parse('{"__proto__":null}')],
    ['a method', 'operation.body.toString == "x"', {}],
    ['an index past the end', 'operation.body[3] == 1.0', [1]],
    ['a negative index', 'operation.body[-1] == 1.0', [1]],
    ['division by zero', '1 / int(operation.body.x) == 1', { x: 0 }],
    ['overflow', 'int(operation.body.x) * int(operation.body.x) > 1', { x: Number.MAX_SAFE_INTEGER }],
    ['a body that is not JSON', 'operation.body.x == 1.0', undefined],
    ['arguments that are not there', 'operation.arguments.x == 1.0', {}],
  ])('%s', (_what, source, body) => {
    expect(evaluateCondition(condition(source), call(body))).toMatchObject({ matched: false, failed: expect.any(String) })
  })

  test('an own __proto__ of a body is an ordinary field', () => {
    expect(
      evaluateCondition(condition('operation.body.__proto__.admin == true'), call(JSON.parse('{"__proto__":{"admin":true}}'))),
    ).toEqual({
      matched: true,
    })
    expect(evaluateCondition(condition('has(operation.body.admin)'), call(JSON.parse('{"__proto__":{"admin":true}}')))).toEqual({
      matched: false,
    })
  })

  test.each([
    ['comparing', 'operation.body.y.all(a, operation.body.y.all(b, a == b))', Array(256).fill('a'.repeat(250))],
    ['comparing lists', 'operation.body.y.all(a, operation.body.y.all(b, a == b))', Array(15).fill(Array(256).fill(1))],
    [
      'searching',
      `operation.body.y.all(a, ${Array(7).fill('!operation.body.y[0].contains("aab")').join(' && ')})`,
      ['a'.repeat(4096), ...Array(255).fill('')],
    ],
    ['looking through lists', 'operation.body.y.all(a, operation.body.y.all(b, b in [1.0, 2.0]))', Array(256).fill(1)],
  ])('%s: what is dear but accepted ends soon over the largest body', (_what, source, y) => {
    const dear = condition(source)
    evaluateCondition(dear, call({ y }))
    const start = performance.now()
    expect(evaluateCondition(dear, call({ y }))).toEqual({ matched: true })
    expect(performance.now() - start).toBeLessThan(5_000)
  })

  test.each([
    ['whole fields compared in each round', 'operation.body.y.all(a, operation.body.y.all(b, operation.body.z == operation.body.w))'],
    ['whole texts searched in each round', 'operation.body.y.all(a, operation.body.y.all(b, operation.body.s.contains("aaab")))'],
    ['texts of the outer round searched in the inner', 'operation.body.y.all(a, operation.body.y.all(b, a.contains("aaab")))'],
    ['texts searched in two rounds', 'operation.body.y.all(a, operation.body.y.all(b, b.contains("aab")))'],
    ['sums searched in each round', 'operation.body.y.all(a, operation.body.y.all(b, (a + b + a + b).contains("c")))'],
    ['whole lists looked through in each round', 'operation.body.y.all(a, operation.body.y.all(b, b in operation.body.z))'],
  ])('%s is refused at save', (_what, source) => {
    expect(problem(source)).toContain('could take')
  })
})
