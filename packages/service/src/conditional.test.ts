import { describe, expect, it } from 'vitest'
import { etag, ifMatch, ifNoneMatch } from './conditional.ts'

describe('conditional requests', () => {
  it.each([
    [undefined, 'precondition_required'],
    ['', 'precondition_required'],
    ['"3"', undefined],
    ['"2", "3"', undefined],
    ['*', undefined],
    ['"4"', 'version_moved'],
    ['W/"3"', 'version_moved'],
    ['3', 'version_moved'],
  ])('[P-125] If-Match %j on version 3', (header, reason) => {
    const result = ifMatch(header, etag(3))
    expect(result.ok ? undefined : result.reason).toBe(reason)
  })

  it.each([
    [undefined, false],
    ['"3"', true],
    ['W/"3"', true],
    ['"2"', false],
    ['*', true],
  ])('If-None-Match %j on version 3', (header, known) => {
    expect(ifNoneMatch(header, etag(3))).toBe(known)
  })
})
