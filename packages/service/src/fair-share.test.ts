import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FairShare } from './fair-share.ts'
import { LedgerLag } from './ledger-lag.ts'

/** One turn in which every party asks that often, in turns; how often each passed. */
function ask(share: FairShare, demand: Readonly<Record<string, number>>, tooMuch: boolean): Record<string, number> {
  const passed: Record<string, number> = {}
  for (let round = 0; round < Math.max(...Object.values(demand)); round += 1) {
    for (const [party, often] of Object.entries(demand)) if (round < often && share.admit(party)) passed[party] = (passed[party] ?? 0) + 1
  }
  share.turn(tooMuch)
  return passed
}

describe('[P-169] who is held back when there is too much', () => {
  it('nobody as long as there is not', () => {
    const share = new FairShare()
    for (let turn = 0; turn < 20; turn += 1) expect(ask(share, { a: 1_000, b: 3 }, false)).toEqual({ a: 1_000, b: 3 })
    expect(share.bounded).toBe(false)
  })

  it('the zone that floods, and not the one beside it', () => {
    const share = new FairShare()
    for (let turn = 0; turn < 4; turn += 1) ask(share, { flood: 10_000, quiet: 20 }, true)
    for (let turn = 0; turn < 20; turn += 1) {
      const passed = ask(share, { flood: 10_000, quiet: 20 }, turn % 2 === 0)
      expect(passed.quiet).toBe(20)
      expect(passed.flood).toBeLessThan(10_000)
      expect(passed.flood).toBeGreaterThan(20)
    }
  })

  it('two that flood get the same', () => {
    const share = new FairShare()
    for (let turn = 0; turn < 6; turn += 1) ask(share, { one: 5_000, two: 9_000, quiet: 2 }, true)
    const passed = ask(share, { one: 5_000, two: 9_000, quiet: 2 }, true)
    expect(passed.one).toBe(passed.two)
    expect(passed.quiet).toBe(2)
  })

  it('nobody any more once it is over', () => {
    const share = new FairShare()
    for (let turn = 0; turn < 30; turn += 1) ask(share, { flood: 1_000 }, true)
    expect(share.bounded).toBe(true)
    let turns = 0
    while (share.bounded && turns < 200) {
      ask(share, { flood: 1_000 }, false)
      turns += 1
    }
    expect(turns).toBeLessThan(100)
    expect(ask(share, { flood: 1_000 }, false)).toEqual({ flood: 1_000 })
  })

  it('whatever is asked: who asks for less than another never gets less of what it asked for than that one', () => {
    const demands = fc.array(fc.integer({ min: 1, max: 2_000 }), { minLength: 1, maxLength: 8 })
    fc.assert(
      fc.property(demands, fc.integer({ min: 2, max: 12 }), (asked, turns) => {
        const demand = Object.fromEntries(asked.map((often, at) => [`zone-${at}`, often]))
        const share = new FairShare()
        for (let turn = 0; turn < turns; turn += 1) ask(share, demand, true)
        const passed = ask(share, demand, true)
        const rising = Object.entries(demand).sort(([, a], [, b]) => a - b)
        for (const [at, [party, often]] of rising.entries()) {
          expect(passed[party]).toBeGreaterThan(0)
          for (const [other] of rising.slice(at + 1)) {
            if ((passed[party] ?? 0) < often) expect(passed[other]).toBe(passed[party])
            else expect(passed[other] ?? 0).toBeGreaterThanOrEqual(passed[party] ?? 0)
          }
        }
      }),
    )
  })
})

describe('[P-172] a ledger falls behind', () => {
  /** Every 100 ms so many are made and so many confirmed; the seconds in which that is called falling behind. */
  function seconds(
    lag: LedgerLag,
    phases: readonly { readonly for: number; readonly made: number; readonly confirmed: number }[],
  ): number[] {
    const behind = new Set<number>()
    let [at, made, confirmed] = [0, 0, 0]
    for (const phase of phases) {
      for (let turn = 0; turn < phase.for * 10; turn += 1) {
        at += 100
        made += phase.made
        confirmed = Math.min(made, confirmed + phase.confirmed)
        if (lag.fallsBehind(made, made - confirmed, at)) behind.add(Math.floor(at / 1_000))
      }
    }
    return [...behind]
  }

  it('when it takes less than is made, and no sooner than the limit', () => {
    const found = seconds(new LedgerLag(10_000), [{ for: 60, made: 100, confirmed: 50 }])
    expect(found[0]).toBeGreaterThanOrEqual(10)
    expect(found.at(-1)).toBe(60)
  })

  it('not while it keeps up, nor while it is away, nor while it catches up', () => {
    const keepsUp = { for: 60, made: 100, confirmed: 100 }
    const away = { for: 120, made: 100, confirmed: 0 }
    const catchesUp = { for: 100, made: 100, confirmed: 400 }
    expect(seconds(new LedgerLag(10_000), [keepsUp, away, catchesUp, keepsUp])).toEqual([])
  })

  it('no more once less is made than it takes', () => {
    const slow = { for: 40, made: 100, confirmed: 50 }
    const found = seconds(new LedgerLag(10_000), [slow, { for: 60, made: 25, confirmed: 50 }])
    expect(found.at(-1)).toBeLessThan(44)
  })
})
