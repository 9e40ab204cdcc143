import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseForm, singleValues } from './form.ts'

const parse = (text: string) => {
  const form = parseForm(Buffer.from(text))
  return form.ok ? Object.fromEntries(form.value) : form.reason
}

describe('[P-004] a form', () => {
  it.each([
    ['', {}],
    ['a=1', { a: ['1'] }],
    ['a=1&a=2&b=', { a: ['1', '2'], b: [''] }],
    ['a', { a: [''] }],
    ['a=b=c', { a: ['b=c'] }],
    ['a+b=c+d%2B', { 'a b': ['c d+'] }],
    ['&&a=1&', { a: ['1'] }],
    ['a=%C3%A4', { a: ['ä'] }],
    ['\ufeffa=1&a=2', { '\ufeffa': ['1'], a: ['2'] }],
    ['a=%ff', 'invalid_request'],
    ['a=%', 'invalid_request'],
    ['%zz=1', 'invalid_request'],
  ])('%j', (text, expected) => expect(parse(text)).toEqual(expected))

  it('that is not UTF-8 is refused', () => expect(parseForm(Buffer.from([0x61, 0x3d, 0xff])).ok).toBe(false))

  it('reads back what URLSearchParams writes, order and repetition kept', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.string({ unit: 'grapheme', minLength: 1 }), fc.string({ unit: 'grapheme' }))), (pairs) => {
        const form = parseForm(Buffer.from(new URLSearchParams(pairs).toString()))
        if (!form.ok) throw new Error(form.detail)
        expect([...form.value].flatMap(([name, values]) => values.map((value) => [name, value])).sort()).toEqual([...pairs].sort())
      }),
    )
  })

  it('gives one value per name, empty as absent, and names the one that stands twice', () => {
    const form = parseForm(Buffer.from('a=1&b=&r=1&r=2'))
    if (!form.ok) throw new Error(form.detail)
    const single = singleValues(form.value, ['r'])
    expect(single.ok && Object.fromEntries(single.value)).toEqual({ a: '1', r: '1' })
    expect(singleValues(form.value)).toMatchObject({ ok: false, reason: 'duplicate_parameter', detail: 'r stands more than once' })
  })
})
