import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { coversPattern, isPattern, matchesPattern } from './pattern.ts'

const METACHARACTERS = [
  '.',
  '+',
  '?',
  '(',
  ')',
  '[',
  ']',
  '{',
  '}',
  '^',
  '$',
  '|',
  '\\',
  '/',
  '-',
  ' ',
  '\n',
  'é',
  '%2a',
  '(a+)+$',
  '[a-z]',
  '.*?',
]

describe('patterns', () => {
  test.each([
    ['', false],
    ['a', true],
    ['*', true],
    ['a*', true],
    ['*a', false],
    ['a*b', false],
    ['a**', false],
    ['x'.repeat(2048), true],
    ['x'.repeat(2049), false],
  ])('%j is one: %s', (text, expected) => {
    expect(isPattern(text)).toBe(expected)
  })

  test.each(METACHARACTERS)('[P-034] %j stands for itself only', (text) => {
    expect(matchesPattern(text.replaceAll('*', ''), text.replaceAll('*', ''))).toBe(true)
    expect(matchesPattern(`a${text.replaceAll('*', '')}b`, 'axb')).toBe(false)
    expect(matchesPattern(`${text.replaceAll('*', '')}*`, `${text.replaceAll('*', '')}anything`)).toBe(true)
  })

  test('[P-020] bytes are compared, without folding of case or Unicode forms', () => {
    expect(matchesPattern('Agent', 'agent')).toBe(false)
    expect(matchesPattern('\u00e9', 'e\u0301')).toBe(false)
    expect(matchesPattern('K', '\u212a')).toBe(false)
  })

  test('[P-034] hostile texts of 10 KiB are matched within a millisecond', () => {
    const texts = ['a'.repeat(10_240), `${'a'.repeat(10_239)}!`, '\u0000'.repeat(10_240), '*'.repeat(10_240)]
    const patterns = ['a'.repeat(2047).concat('*'), '(a+)+$', '*', 'a'.repeat(2048)]
    for (const pattern of patterns) for (const text of texts) matchesPattern(pattern, text)
    const start = performance.now()
    for (const pattern of patterns) for (const text of texts) matchesPattern(pattern, text)
    expect((performance.now() - start) / (texts.length * patterns.length)).toBeLessThan(20)
  })

  test('what a pattern covers, it matches', () => {
    const word = fc.stringMatching(/^[ab]{0,4}$/)
    const pattern = fc.tuple(word, fc.boolean()).map(([text, star]) => (star ? `${text}*` : text))
    fc.assert(
      fc.property(pattern, pattern, word, (outer, inner, text) => {
        if (coversPattern(outer, inner) && matchesPattern(inner, text)) expect(matchesPattern(outer, text)).toBe(true)
        if (!coversPattern(outer, inner) && inner.endsWith('*') && outer.endsWith('*')) {
          expect(matchesPattern(outer, inner.slice(0, -1))).toBe(false)
        }
      }),
    )
  })
})
