import { describe, expect, test } from 'vitest'
import { freshZones, START } from './test-support/budget-world.ts'

const EUR = (amount: string) => ({ amount, currency: 'EUR' })
const HOUR = 3_600_000
const DAY = 24 * HOUR
const at = (text: string) => Date.parse(text)

describe('windows that turn', () => {
  const here = freshZones()

  const spend = async (amount: string) => {
    const taken = await here.zone.reserve({ price: EUR(amount) })
    if (taken.outcome === 'charged') await here.zone.settle(taken.request)
    return taken.outcome
  }

  test.each([
    ['hour', '2026-03-17T10:59:59.999Z', '2026-03-17T11:00:00Z'],
    ['day', '2026-03-17T23:59:59.999Z', '2026-03-18T00:00:00Z'],
    ['week', '2026-03-22T23:59:59.999Z', '2026-03-23T00:00:00Z'],
    ['month', '2026-03-31T23:59:59.999Z', '2026-04-01T00:00:00Z'],
  ] as const)('of the calendar: what the %s has spent is over with its last millisecond, and not before', async (per, last, next) => {
    const budget = await here.zone.budget({ limit: EUR('1'), window: 'calendar', per })
    expect(await spend('1')).toBe('charged')
    here.world.clock.now = at(last)
    expect(await spend('0.01')).toBe('budget_exceeded')
    expect((await here.zone.standing(budget)).resetsAt).toBe(at(next))
    here.world.clock.now = at(next)
    expect(await here.zone.standing(budget)).toMatchObject({ spent: '0', remaining: '1' })
    expect(await spend('1')).toBe('charged')
    expect(await spend('0.01')).toBe('budget_exceeded')
  })

  test('rolling: each amount leaves by itself, after the window and within a sixtieth of it', async () => {
    const budget = await here.zone.budget({ limit: EUR('3'), window: 'rolling', per: 'day' })
    for (const later of [0, 6 * HOUR, 12 * HOUR]) {
      here.world.clock.now = START + later
      expect(await spend('1')).toBe('charged')
    }
    here.world.clock.now = START + DAY - 1
    expect(await spend('0.01')).toBe('budget_exceeded')
    const { resetsAt } = await here.zone.standing(budget)
    expect(resetsAt).toBeGreaterThan(START + DAY)
    expect(resetsAt).toBeLessThanOrEqual(START + DAY + DAY / 60)
    here.world.clock.now = (resetsAt ?? 0) - 1
    expect(await spend('0.01')).toBe('budget_exceeded')
    here.world.clock.now = resetsAt ?? 0
    expect(await here.zone.standing(budget)).toMatchObject({ spent: '2', remaining: '1' })
    expect(await spend('1')).toBe('charged')
    expect(await spend('0.01')).toBe('budget_exceeded')
  })

  test('a call counts in the window that let it through, whenever it is settled or released', async () => {
    const budget = await here.zone.budget({ limit: EUR('1'), window: 'calendar', per: 'hour' })
    here.world.clock.now = at('2026-03-17T10:59:59Z')
    const [settled, released] = [await here.zone.reserve({ price: EUR('0.4') }), await here.zone.reserve({ price: EUR('0.6') })]
    here.world.clock.now = at('2026-03-17T11:00:00Z')
    expect(await spend('0.9')).toBe('charged')
    expect(await here.zone.settle(settled.request)).toBe('settled')
    expect(await here.zone.release(released.request)).toBe('released')
    expect(await here.zone.standing(budget)).toMatchObject({ spent: '0.9', reserved: '0', remaining: '0.1' })
    expect(await here.zone.usage()).toContainEqual(
      expect.objectContaining({ request: settled.request, amount: '0.4', at: at('2026-03-17T10:59:59Z') }),
    )
    // A clock that is still behind sees both windows: it refuses more, and never less.
    here.world.clock.now = at('2026-03-17T10:59:59Z')
    expect(await spend('0.01')).toBe('budget_exceeded')
  })

  test('spans that are over are forgotten when the next begins: a budget keeps a bounded number of rows', async () => {
    const budget = await here.zone.budget({ limit: { calls: 1_000 }, window: 'rolling', per: 'hour' })
    for (let minute = 0; minute < 200; minute += 5) {
      here.world.clock.now = START + minute * 60_000
      await here.zone.settle((await here.zone.reserve()).request)
    }
    const rows = await here.world.database.query.selectFrom('budget_spans').select('starts_at').where('budget', '=', budget.id).execute()
    expect(rows.length).toBeLessThanOrEqual(2 * 12 + 2)
    expect((await here.zone.standing(budget)).spent).toBe('13')
  })
})
