import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SteadyClock } from './steady-clock.ts'

const START = 1_800_000_000_000

/** A machine whose clock can be turned, and a store whose clock is right unless said otherwise. */
function world() {
  const at = { elapsed: 1_000, wallOff: 0, storeOff: 0 }
  const truth = () => START + at.elapsed
  const clock = new SteadyClock(
    () => truth() + at.wallOff,
    () => at.elapsed,
  )
  const compare = (tookMs = 1) => {
    const asked = clock.elapsed()
    at.elapsed += tookMs
    clock.compare(truth() + at.storeOff, asked)
  }
  return { at, clock, compare, error: () => clock.now() - truth() }
}

describe('[P-146] [P-056] the steady clock', () => {
  it('a jump back of a minute revives nothing, not for a moment', () => {
    const { at, compare, error, clock } = world()
    compare()
    at.wallOff = -60_000
    expect(error()).toBe(0)
    compare()
    expect(error()).toBe(0)
    expect(clock.skew).toBeCloseTo(-60, 0)
    expect(clock.agrees).toBe(false)
    at.elapsed += 3_600_000
    expect(error()).toBe(0)
    at.wallOff = 0
    compare()
    expect([error(), clock.agrees]).toEqual([0, true])
  })

  it('a jump ahead counts until the store contradicts it', () => {
    const { at, compare, error } = world()
    compare()
    at.wallOff = 60_000
    expect(error()).toBe(60_000)
    compare()
    expect(error()).toBe(0)
  })

  it('a clock that was wrong from the start is believed, and said to be wrong, until somebody sets it right', () => {
    const at = { elapsed: 0, off: 90_000 }
    const clock = new SteadyClock(
      () => START + at.elapsed + at.off,
      () => at.elapsed,
    )
    clock.compare(START, 0)
    expect([clock.now() - START, clock.agrees]).toEqual([90_000, false])
    at.off = 0
    clock.compare(START, 0)
    expect([clock.now() - START, clock.agrees]).toEqual([0, true])
  })

  it('a store whose clock jumps changes nothing', () => {
    const { at, compare, error, clock } = world()
    compare()
    at.storeOff = -60_000
    compare()
    expect([error(), clock.agrees]).toEqual([0, false])
  })

  it('an answer that took too long says nothing', () => {
    const { at, compare, clock } = world()
    compare(30_000)
    expect(clock.skew).toBe(null)
    at.wallOff = 1_000
    compare()
    expect(clock.skew).toBeCloseTo(1, 2)
  })

  it('never goes back by more than the clocks may differ, and is never behind, whatever the machine does once both agreed', () => {
    const step = fc.record({
      wait: fc.integer({ min: 0, max: 5_000 }),
      jump: fc.constantFrom(0, 0, 60_000, -60_000),
      compared: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { at, compare, error } = world()
        compare()
        for (const { wait, jump, compared } of steps) {
          at.elapsed += wait
          at.wallOff = jump
          if (compared) {
            compare()
            expect(error()).toBe(0)
          }
          expect(error()).toBeGreaterThanOrEqual(0)
        }
      }),
    )
  })
})
