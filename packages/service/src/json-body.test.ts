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
    ['a key twice that ends with a backslash', '{"a\\\\":1,"b":"\\\\","a\\\\":2}'],
    ['a key twice that has quotes in it', '{"\\"":1,"\\\\":2,"\\"":3}'],
    ['no JSON', '{a:1}'],
    ['broken UTF-8', Buffer.from([0x22, 0xff, 0x22])],
    ['sixty-six levels', `${'['.repeat(66)}${']'.repeat(66)}`],
  ])('with %s is refused [P-089]', (_, body) => {
    expect(parseJsonBody(Buffer.from(body))).toMatchObject({ ok: false, reason: 'malformed_json' })
  })

  test.each(['{}', '[{"a":1},{"a":2}]', '{"a":{"a":{"a":[]}},"b":"a"}', '"a"', '{"":1,"b":["","",""]}'])('%s is taken', (text) => {
    expect(parse(text)).toEqual({ ok: true, value: JSON.parse(text) })
  })

  test('a key is found twice exactly when it stands there twice, whatever it is made of', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: fc.constantFrom('a', '\\', '"', '{', ','), maxLength: 3 }), { maxLength: 5 }), (keys) => {
        const text = `{${keys.map((key) => `${JSON.stringify(key)}:[${JSON.stringify(key)}]`).join(',')}}`
        expect(duplicateKey(text) === null).toBe(new Set(keys).size === keys.length)
      }),
    )
  })

  test('whatever JSON.stringify writes has no key twice', () => {
    fc.assert(fc.property(fc.json(), (text) => duplicateKey(text) === null))
  })
})
