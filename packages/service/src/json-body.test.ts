import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { duplicateKey, parseJsonBody } from './json-body.ts'

const parse = (text: string) => parseJsonBody(Buffer.from(text))

describe('a JSON body', () => {
  test.each([
    ['a key twice', '{"a":1,"a":2}'],
    ['a key twice, spelled with escapes', '{"amount":1,"\\u0061mount":2}'],
    ['a key twice within', '{"x":[{"b":{}},{"a":1,"b":2,"a":3}]}'],
    ['a key twice after a value with braces', '{"a":"}{,\\"a\\":","a":2}'],
    ['__proto__', '{"__proto__":{}}'],
    ['no JSON', '{a:1}'],
    ['broken UTF-8', Buffer.from([0x22, 0xff, 0x22])],
    ['sixty-six levels', `${'['.repeat(66)}${']'.repeat(66)}`],
  ])('with %s is refused [P-089]', (_, body) => {
    expect(parseJsonBody(Buffer.from(body))).toMatchObject({ ok: false, reason: 'malformed_json' })
  })

  test.each(['{}', '[{"a":1},{"a":2}]', '{"a":{"a":{"a":[]}},"b":"a"}', '"a"', '{"":1,"b":["","",""]}'])('%s is taken', (text) => {
    expect(parse(text)).toEqual({ ok: true, value: JSON.parse(text) })
  })

  test('whatever JSON.stringify writes has no key twice', () => {
    fc.assert(fc.property(fc.json(), (text) => duplicateKey(text) === null))
  })
})
