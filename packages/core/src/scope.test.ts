import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatScopes, isScope, parseScopes } from './scope.ts'

describe('scopes', () => {
  test.each([
    ['payments:read', true],
    ['a', true],
    ["!#$%&'()+,-./0:;<=>?@A[]^_`a{|}~", true],
    ['x'.repeat(128), true],
    ['x'.repeat(129), false],
    ['', false],
    ['a b', false],
    ['a"b', false],
    ['a\\b', false],
    ['a\tb', false],
    ['a\n', false],
    ['ä', false],
    ['a\u0000', false],
    ['*', false],
    ['payments:*', false],
  ])('%j is one: %s (RFC 6749 §3.3, * kept for patterns)', (text, expected) => {
    expect(isScope(text)).toBe(expected)
  })

  test('order, repetition and extra spaces of a list carry no meaning', () => {
    const scope = fc.stringMatching(/^[a-z:]{1,8}$/)
    fc.assert(
      fc.property(fc.array(scope), fc.nat({ max: 3 }), (scopes, spaces) => {
        const parsed = parseScopes([...scopes, ...scopes].reverse().join(' '.repeat(1 + spaces)))
        expect(parsed.ok && formatScopes(parsed.value)).toBe(formatScopes(scopes))
      }),
    )
    expect(parseScopes('')).toEqual({ ok: true, value: new Set() })
  })

  test('one malformed token refuses the whole list', () => {
    expect(parseScopes('a b\tc d')).toMatchObject({ ok: false, reason: 'invalid_scope' })
    expect(parseScopes('a *')).toMatchObject({ ok: false, reason: 'invalid_scope' })
  })

  test('a refusal quotes at most 64 characters of what was sent', () => {
    const parsed = parseScopes('"'.repeat(10_000))
    expect(parsed.ok ? '' : parsed.detail?.length).toBeLessThan(200)
  })
})
