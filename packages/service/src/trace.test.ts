import { describe, expect, it } from 'vitest'
import { formatTraceparent, parseTraceparent, startServerSpan } from './trace.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'

describe('[P-148] traceparent', () => {
  it.each([
    [`00-${TRACE}-${SPAN}-01`, true],
    [`00-${TRACE}-${SPAN}-00`, true],
    [`01-${TRACE}-${SPAN}-01-more`, true],
    [`00-${TRACE}-${SPAN}-01-more`, false],
    [`ff-${TRACE}-${SPAN}-01`, false],
    [`00-${'0'.repeat(32)}-${SPAN}-01`, false],
    [`00-${TRACE}-${'0'.repeat(16)}-01`, false],
    [`00-${TRACE.toUpperCase()}-${SPAN}-01`, false],
    [`00-${TRACE}-${SPAN}`, false],
    ['', false],
    [undefined, false],
  ])('%j is valid: %s', (header, valid) => {
    expect(parseTraceparent(header) !== undefined).toBe(valid)
    const { at } = startServerSpan(header, () => 'x')
    expect(at.traceId === TRACE).toBe(valid)
    expect(at.spanId).not.toBe(SPAN)
    expect(parseTraceparent(formatTraceparent(at))).toMatchObject({ traceId: at.traceId, parentId: at.spanId })
  })
})
