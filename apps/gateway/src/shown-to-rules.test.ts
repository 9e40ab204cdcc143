import { describe, expect, it } from 'vitest'
import { isPlainJson, queryOf } from './shown-to-rules.ts'

const typed = (...types: string[]) => ({ headersDistinct: { 'content-type': types } })

describe('a rule reads a body only when every upstream reads the same from its bytes [P-089]', () => {
  it.each([
    'application/json',
    'Application/JSON',
    'application/json;charset=utf-8',
    'application/json; charset="UTF-8"',
    'application/vnd.api+json',
  ])('%s is JSON', (type) => {
    expect(isPlainJson(typed(type))).toBe(true)
  })

  it.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/json; charset=utf-16',
    'application/json; charset=utf-7',
    'application/json; charset=utf-8; charset=utf-7',
    'application/json; boundary=x',
    'application/json, text/plain',
    'application/jsonx',
    'application/json-seq',
    '',
  ])('%s is not', (type) => {
    expect(isPlainJson(typed(type))).toBe(false)
  })

  it('two content types, none, and an encoded body are not', () => {
    expect(isPlainJson(typed('application/json', 'text/plain'))).toBe(false)
    expect(isPlainJson(typed('application/json', 'application/json'))).toBe(false)
    expect(isPlainJson({ headersDistinct: {} })).toBe(false)
    for (const coding of ['gzip', 'br', 'deflate', 'identity, gzip', ''])
      expect(isPlainJson({ headersDistinct: { ...typed('application/json').headersDistinct, 'content-encoding': [coding] } })).toBe(false)
    const plain = { ...typed('application/json').headersDistinct, 'content-encoding': ['identity'] }
    expect(isPlainJson({ headersDistinct: plain })).toBe(true)
  })
})

it('names of a query that objects know themselves are names like others', () => {
  const query = queryOf('?__proto__=a&constructor=b&toString=c&toString=d&q=1')
  expect(Object.entries(query)).toEqual([
    ['__proto__', 'a'],
    ['constructor', 'b'],
    ['toString', ['c', 'd']],
    ['q', '1'],
  ])
})
