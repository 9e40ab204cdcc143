import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RateBuckets } from './rate-buckets.ts'

describe('RateBuckets', () => {
  it('lets a burst through, then the rate, and says how long to wait', () => {
    let now = 0
    const buckets = new RateBuckets({ perSecond: 10, burst: 5, now: () => now })
    const taken = Array.from({ length: 7 }, () => buckets.take('one'))
    expect(taken.map((wait) => wait > 0)).toEqual([false, false, false, false, false, true, true])
    expect(buckets.take('one')).toBeLessThanOrEqual(0.1)
    expect(buckets.take('two')).toBe(0)
    now += 100
    expect([buckets.take('one') > 0, buckets.take('one') > 0]).toEqual([false, true])
    now += 60_000
    expect(Array.from({ length: 6 }, () => buckets.take('one') > 0)).toEqual([false, false, false, false, false, true])
  })

  it('never lets more through than burst and rate allow, whatever the times are, and no fewer when calls keep to the rate', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3_000 }), fc.integer({ min: 1, max: 50 }), fc.array(fc.nat(400)), (perSecond, burst, gaps) => {
        let now = 1e9
        const began = now
        const buckets = new RateBuckets({ perSecond, burst, now: () => now })
        let passed = 0
        for (const gap of gaps) {
          now += gap / 7
          if (buckets.take('key') === 0) passed += 1
          expect(passed).toBeLessThanOrEqual(burst + ((now - began) / 1_000) * perSecond + 1)
        }
        for (let at = 0; at < 20; at++) {
          now += 60_000 / perSecond + 60_000
          expect(buckets.take('key')).toBe(0)
        }
        for (let at = 0; at < 200; at++) {
          now += 1_000 / perSecond
          expect(buckets.take('key')).toBe(0)
        }
      }),
      { numRuns: 50 },
    )
  })

  it('asking costs nothing, and 0 is no limit', () => {
    const buckets = new RateBuckets({ perSecond: 1, now: () => 0 })
    expect([buckets.waits('key'), buckets.waits('key'), buckets.take('key')]).toEqual([0, 0, 0])
    expect(buckets.waits('key')).toBeGreaterThan(0)
    const open = new RateBuckets({ perSecond: 0 })
    expect(Array.from({ length: 1_000 }, () => open.take('key')).every((wait) => wait === 0)).toBe(true)
    expect(open.size).toBe(0)
  })

  it('holds a bounded number of buckets: a flood of keys forgets idle ones and leaves the busy one in place [P-168]', () => {
    let now = 0
    const buckets = new RateBuckets({ perSecond: 1, burst: 3, capacity: 100, now: () => now })
    const busy = () => Array.from({ length: 3 }, () => buckets.take('busy'))
    busy()
    for (let at = 0; at < 10_000; at++) {
      now += 10_000
      buckets.take(`stranger ${at}`)
      busy()
      expect(buckets.waits('busy')).toBeGreaterThan(0)
    }
    expect(buckets.size).toBeLessThanOrEqual(100)
  })
})
