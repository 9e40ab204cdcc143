import { newId } from '@caracal/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ChargeAnswer, SpendOrder, WantedSlice } from './charge-order.ts'
import { type LostSlice, loseSlicesJob } from './lose-slices.ts'
import { SILENT_MS } from './slices.ts'
import { type BudgetWorld, type BudgetZone, budgetWorld, START } from './test-support/budget-world.ts'

const TTL_MS = 60_000
const DAY = 86_400_000

let world: BudgetWorld
beforeAll(async () => {
  world = await budgetWorld()
})
afterAll(() => world?.close())

/** A point that says what the test lets it say. */
function pointOf(zone: BudgetZone, name: string) {
  let turn = 0
  const one = async (answers: Promise<readonly ChargeAnswer[]>) => {
    const [answer] = await answers
    if (answer === undefined) throw new Error('no answer')
    return answer
  }
  return {
    async hold(budget: { readonly id: WantedSlice['budget'] }, more: Partial<WantedSlice> = {}) {
      turn += 1
      const wanted = { budget: budget.id, turn, most: 10n ** 18n, share: 10, unit: 1n, ...more }
      const answer = await one(zone.desk.submit(zone.id, [{ act: 'hold', point: name, ttlMs: TTL_MS, budgets: [wanted] }]))
      if (answer.act !== 'hold' || answer.slices[0] === undefined) throw new Error('another answer')
      return answer.slices[0]
    },
    order(budget: { readonly id: WantedSlice['budget'] }, more: Partial<SpendOrder> = {}): SpendOrder {
      return {
        act: 'spend',
        request: newId('request'),
        point: name,
        what: { application: zone.application, subject: null, session: null, resource: 'https://bank.example', operation: 'POST /pay' },
        parts: [{ budget: budget.id, amount: 1n, money: false }],
        amount: 0n,
        currency: null,
        actual: null,
        at: world.clock.now,
        ...more,
      }
    },
    async spend(order: SpendOrder) {
      const answer = await one(zone.desk.submit(zone.id, [order]))
      return answer.act === 'spend' ? answer.outcome : answer.act
    },
  }
}

const lostJob = (onLost?: (slices: readonly LostSlice[]) => void) =>
  loseSlicesJob({
    database: world.database.as('sts'),
    clock: () => world.clock.now,
    everyMs: 60_000,
    batch: 2,
    onLost: async (_tx, slices) => onLost?.(slices),
  })

async function loseAll(job = lostJob()): Promise<void> {
  while (await job.step({ demand: async () => {} })) {}
}

describe('what enforcement points hold of budgets', () => {
  test('[P-045] it is a share of what is left, in whole calls; all that is held and spent is never more than the limit', async () => {
    const zone = await world.zone()
    const budget = await zone.budget({ limit: { calls: 100 } })
    const [one, two] = [pointOf(zone, 'one'), pointOf(zone, 'two')]
    expect(await one.hold(budget)).toMatchObject({ amount: 10n, target: 10n })
    expect(await two.hold(budget)).toMatchObject({ amount: 9n })
    // Its own counts as left to itself.
    expect(await one.hold(budget)).toMatchObject({ amount: 10n, target: 9n })
    expect(await one.hold(budget, { most: 9n })).toMatchObject({ amount: 9n, target: 9n })
    expect(await zone.standing(budget)).toMatchObject({ spent: '0', reserved: '0', held: '18', remaining: '82', resetsAt: null })
    for (let n = 0; n < 82; n += 1) expect((await zone.reserve()).outcome).toBe('charged')
    expect(await zone.reserve()).toMatchObject({ outcome: 'budget_exceeded', data: { remaining: '0' } })
    expect(await one.hold(budget)).toMatchObject({ amount: 9n, target: 0n })
    expect(await one.hold(budget, { most: 0n })).toMatchObject({ amount: 0n, target: 0n })
    expect(await two.hold(budget, { most: 0n, share: 0 })).toMatchObject({ amount: 0n, target: 0n })
  })

  test.each([
    ['less than one call of what is left', { limit: { calls: 9 } }, {}, 0n],
    ['no whole number of calls: the rest stays', { limit: { calls: 99 } }, { unit: 4n }, 8n],
    ['more than half is asked for', { limit: { calls: 100 } }, { share: 90 }, 50n],
    ['no share', { limit: { calls: 100 } }, { share: 0 }, 0n],
    ['money', { limit: { amount: '1.00', currency: 'EUR' } }, { unit: 30_000n }, 90_000n],
  ] as const)('%s', async (_, fields, wanted, held) => {
    const zone = await world.zone()
    expect(await pointOf(zone, 'one').hold(await zone.budget(fields), wanted)).toMatchObject({ amount: held })
  })

  test('what was sent before something else and comes after it changes nothing, and says so', async () => {
    const zone = await world.zone()
    const budget = await zone.budget({ limit: { calls: 100 } })
    const point = pointOf(zone, 'one')
    await point.hold(budget, { turn: 7 })
    expect(await point.hold(budget, { turn: 7, most: 0n, share: 0 })).toEqual({
      budget: budget.id,
      amount: 10n,
      target: 10n,
      turn: 7,
      stale: true,
    })
    expect(await zone.standing(budget)).toMatchObject({ held: '10' })
  })

  test('[P-045] what was spent of it is counted once, however often it is said, with what it cost; a charge of the same request is given back', async () => {
    const zone = await world.zone()
    const budget = await zone.budget({ limit: { amount: '10', currency: 'EUR' } })
    const point = pointOf(zone, 'one')
    await point.hold(budget)
    const part = { budget: budget.id, amount: 300_000n, money: true }
    const order = point.order(budget, { parts: [part], amount: 300_000n, currency: 'EUR', actual: '0.25' })
    await zone.reserve({ request: order.request, price: { amount: '0.3', currency: 'EUR' } })
    const twice = await zone.desk.submit(zone.id, [order, { ...order }])
    expect(twice.map((answer) => ('outcome' in answer ? answer.outcome : ''))).toEqual(['settled', 'repeated'])
    expect(await point.spend(order)).toBe('repeated')
    expect(await zone.standing(budget)).toMatchObject({ spent: '0.25', reserved: '0', held: '0.7', remaining: '9.05' })
    expect(await zone.usage()).toMatchObject([
      { request: order.request, amount: '0.25', currency: 'EUR', late: false, budgets: [budget.id] },
    ])
    // Reserved by an order that was on its way all the while: it expires, and what was said before it is said again.
    await zone.reserve({ request: order.request })
    expect(await point.spend(order)).toBe('repeated')
    expect(await zone.usage()).toHaveLength(1)
  })

  test('[P-045] it is spent in the window of the call, not in the one in which it was taken or told', async () => {
    world.clock.now = START
    const zone = await world.zone()
    const daily = await zone.budget({ limit: { calls: 100 }, window: 'calendar', per: 'day' })
    const rolling = await zone.budget({ limit: { calls: 100 }, window: 'rolling', per: 'hour' })
    const point = pointOf(zone, 'one')
    for (const budget of [daily, rolling]) await point.hold(budget)
    const [before, after] = [daily, rolling].map((budget) => budget.id)
    if (before === undefined || after === undefined) throw new Error('two budgets')
    const parts = [before, after].map((budget) => ({ budget, amount: 1n, money: false }))
    const midnight = Date.UTC(2026, 2, 18)
    const yesterday = point.order(daily, { parts, at: midnight - 1 })
    const today = point.order(daily, { parts, at: midnight + 1 })
    world.clock.now = midnight + 30 * 60_000
    expect(await point.spend(yesterday)).toBe('settled')
    expect(await zone.standing(daily)).toMatchObject({ spent: '0', held: '9', remaining: '91' })
    expect(await point.spend(today)).toBe('settled')
    expect(await zone.standing(daily)).toMatchObject({ spent: '1', held: '8', remaining: '91' })
    expect(await zone.standing(rolling)).toMatchObject({ spent: '2', held: '8', remaining: '90' })
    world.clock.now = midnight + 62 * 60_000
    expect(await zone.standing(rolling)).toMatchObject({ spent: '0', held: '8', remaining: '92' })
  })

  test('[P-045] a point that is never heard of again has spent it all, after a week or once the window is over; what it says later is no longer counted', async () => {
    world.clock.now = START
    const zone = await world.zone()
    const total = await zone.budget({ limit: { calls: 100 } })
    const daily = await zone.budget({ limit: { calls: 100 }, window: 'calendar', per: 'day' })
    const monthly = await zone.budget({ limit: { calls: 100 }, window: 'rolling', per: 'month' })
    const point = pointOf(zone, 'gone')
    for (const budget of [total, daily, monthly]) await point.hold(budget)
    const said = await Promise.all([total, daily].map(async (budget) => point.order(budget)))
    const lost: LostSlice[] = []
    const job = lostJob((slices) => lost.push(...slices.filter((slice) => slice.zone === zone.id)))
    world.clock.now = START + DAY
    await loseAll(job)
    expect(lost).toEqual([])
    expect(await zone.standing(daily)).toMatchObject({ spent: '0', held: '0', remaining: '100' })
    expect(await zone.standing(total)).toMatchObject({ spent: '0', held: '10', remaining: '90' })
    world.clock.now = START + TTL_MS + SILENT_MS
    await loseAll(job)
    expect(lost.map(({ budget, amount }) => `${budget} ${amount}`).sort()).toEqual([`${total.id} 10`, `${monthly.id} 10`].sort())
    expect(await zone.standing(total)).toMatchObject({ spent: '10', held: '0', remaining: '90' })
    expect(await zone.standing(monthly)).toMatchObject({ spent: '10', held: '0', remaining: '90' })
    for (const order of said) expect(await point.spend(order)).toBe('late')
    expect(await zone.standing(total)).toMatchObject({ spent: '10', remaining: '90' })
    expect(await zone.usage()).toHaveLength(2)
    // It may come back and hold anew.
    expect(await point.hold(total)).toMatchObject({ amount: 9n })
  })

  test('of an archived budget nothing is held', async () => {
    world.clock.now = START
    const zone = await world.zone()
    const budget = await zone.budget({ limit: { calls: 100 } })
    const point = pointOf(zone, 'one')
    await point.hold(budget)
    await world.database.query
      .updateTable('budgets')
      .set({ archived_at: new Date(START) as never })
      .where('id', '=', budget.id)
      .execute()
    expect(await point.hold(budget)).toMatchObject({ amount: 10n, target: 0n })
    expect(await point.hold({ id: newId('budget') })).toMatchObject({ amount: 0n, target: 0n, stale: false })
  })
})
