import { runJob } from '@caracal/postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { expireChargesJob } from './expire-charges.ts'
import { type BudgetWorld, type BudgetZone, budgetWorld, EXPIRATION_MS, START } from './test-support/budget-world.ts'

const EUR = (amount: string) => ({ amount, currency: 'EUR' })
const DAY = 86_400_000

describe('charges in the end', () => {
  let world: BudgetWorld
  let zone: BudgetZone

  beforeAll(async () => {
    world = await budgetWorld()
  })
  afterAll(() => world?.close())
  beforeEach(async () => {
    world.clock.now = START
    zone = await world.zone()
  })

  /** One run of the job, in steps of so many. */
  const sweep = async (batch = 1_000) => {
    const job = expireChargesJob({ database: world.database.as('sts'), clock: () => world.clock.now, everyMs: 60_000, batch })
    let steps = 0
    do steps += 1
    while (await job.step({ demand: async () => {} }))
    return steps
  }

  test.each([
    ['the price when nothing else is said', undefined, '0.5', '0.5'],
    ['less', '0.123456', '0.123456', '0.876544'],
    ['more, also beyond the limit: it was spent', '1.25', '1.25', '0'],
    ['nothing', '0', '0', '1'],
    ['the price when what is said is no amount', '-3', '0.5', '0.5'],
  ])('a charge is settled with what the call cost: %s', async (_, actual, amount, remaining) => {
    const budget = await zone.budget({ limit: EUR('1') })
    const { request } = await zone.reserve({ price: EUR('0.5') })
    expect(await zone.settle(request, actual)).toBe('settled')
    expect(await zone.standing(budget)).toMatchObject({ spent: amount, reserved: '0', remaining })
    expect(await zone.usage()).toMatchObject([
      { request, amount, currency: 'EUR', budgets: [budget.id], late: false, at: START, settledAt: START, operation: 'POST /pay' },
    ])
  })

  test('of what ends one charge at once the first counts, whatever the others say', async () => {
    const budget = await zone.budget({ limit: EUR('1') })
    const [one, other] = [await zone.reserve({ price: EUR('0.25') }), await zone.reserve({ price: EUR('0.25') })]
    const settle = (request: typeof one.request, actual: string) => ({ act: 'settle', request, actual }) as const
    const answers = await zone.desk.submit(zone.id, [
      settle(one.request, '0.1'),
      settle(one.request, '0.9'),
      { act: 'release', request: one.request },
      { act: 'release', request: other.request },
      settle(other.request, '0.9'),
    ])
    expect(answers.map((answer) => ('outcome' in answer ? answer.outcome : ''))).toEqual([
      'settled',
      'repeated',
      'unknown',
      'released',
      'unknown',
    ])
    expect(await zone.standing(budget)).toMatchObject({ spent: '0.1', reserved: '0', remaining: '0.9' })
  })

  test('settling is once: repeated it changes nothing, and a release after it gives nothing back', async () => {
    const budget = await zone.budget({ limit: EUR('1') })
    const { request } = await zone.reserve({ price: EUR('0.5') })
    expect(await Promise.all([zone.settle(request), zone.settle(request)])).toEqual(['settled', 'repeated'])
    expect(await zone.settle(request, '0.1')).toBe('repeated')
    expect(await zone.release(request)).toBe('unknown')
    expect(await zone.standing(budget)).toMatchObject({ spent: '0.5', remaining: '0.5' })
    expect(await zone.usage()).toHaveLength(1)
  })

  test('a reservation that is asked for twice is one', async () => {
    const budget = await zone.budget({ limit: { calls: 5 } })
    const { request } = await zone.reserve()
    expect((await zone.reserve({ request })).outcome).toBe('charged')
    await zone.settle(request)
    expect((await zone.reserve({ request })).outcome).toBe('charged')
    expect(await zone.standing(budget)).toMatchObject({ spent: '1', reserved: '0' })
  })

  test('[P-045] a release gives back all of it, at once, and leaves no usage; what nobody charged is unknown', async () => {
    const budget = await zone.budget({ limit: { calls: 1 } })
    const { request } = await zone.reserve()
    expect((await zone.reserve()).outcome).toBe('budget_exceeded')
    expect(await zone.release(request)).toBe('released')
    expect(await zone.release(request)).toBe('unknown')
    expect(await zone.settle(request)).toBe('unknown')
    expect((await zone.reserve()).outcome).toBe('charged')
    expect(await zone.standing(budget)).toMatchObject({ spent: '0', reserved: '1' })
    expect(await zone.usage()).toEqual([])
  })

  test('[4-17] [P-045] what nobody settles is given back when its time is over: 300 s, or longer where that was asked for, and 3600 s at most', async () => {
    const budget = await zone.budget({ limit: { calls: 3 } })
    await zone.reserve({ ttl: 10 })
    await zone.reserve({ ttl: 600 })
    await zone.reserve({ ttl: 100_000 })
    world.clock.now = START + EXPIRATION_MS - 1
    await sweep()
    expect(await zone.standing(budget)).toMatchObject({ reserved: '3' })
    for (const [later, reserved] of [
      [EXPIRATION_MS, '2'],
      [600_000, '1'],
      [3_599_999, '1'],
      [3_600_000, '0'],
    ] as const) {
      world.clock.now = START + later
      await sweep()
      expect(await zone.standing(budget)).toMatchObject({ reserved })
    }
    expect(await zone.usage()).toEqual([])
  })

  test('[P-045] a settlement that comes after the expiry is recorded, once, and counts', async () => {
    const budget = await zone.budget({ limit: EUR('1') })
    const { request } = await zone.reserve({ price: EUR('0.75') })
    world.clock.now += EXPIRATION_MS
    await sweep()
    expect(await zone.standing(budget)).toMatchObject({ spent: '0', reserved: '0' })
    expect(await zone.settle(request)).toBe('late')
    expect(await zone.settle(request)).toBe('repeated')
    expect(await zone.standing(budget)).toMatchObject({ spent: '0.75', remaining: '0.25' })
    expect(await zone.usage()).toMatchObject([{ request, late: true, at: START, settledAt: START + EXPIRATION_MS }])
  })

  test('an expired charge is kept for a week and then forgotten', async () => {
    await zone.budget({ limit: { calls: 2 } })
    const [early, late] = [await zone.reserve(), await zone.reserve()]
    world.clock.now = START + EXPIRATION_MS
    await sweep()
    world.clock.now = START + EXPIRATION_MS + 7 * DAY - 1
    await sweep()
    expect(await zone.settle(early.request)).toBe('late')
    world.clock.now += 1
    await sweep()
    expect(await zone.settle(late.request)).toBe('unknown')
  })

  test('[4-17] the sweep goes in batches, step after step until nothing is left', async () => {
    const budget = await zone.budget({ limit: { calls: 100 } })
    for (let made = 0; made < 5; made += 1) await zone.reserve()
    world.clock.now = START + EXPIRATION_MS
    expect(await sweep(2)).toBe(3)
    expect(await zone.standing(budget)).toMatchObject({ reserved: '0' })
  })

  test('the job runs under the role of the STS, and what a lost lease was about to give back stays charged', async () => {
    const budget = await zone.budget({ limit: { calls: 1 } })
    await zone.reserve()
    world.clock.now = START + EXPIRATION_MS
    const job = expireChargesJob({ database: world.database.as('sts'), clock: () => world.clock.now, everyMs: 10, batch: 10 })
    const lost = job.step({ demand: () => Promise.reject(new Error('lost')) })
    await expect(lost).rejects.toThrow('lost')
    expect(await zone.standing(budget)).toMatchObject({ reserved: '1' })
    const silent = { warn: () => {}, error: () => {} }
    const running = runJob(job, { database: world.database.as('sts'), logger: silent })
    await expect.poll(async () => (await zone.standing(budget)).reserved).toBe('0')
    await running.stop()
  })
})
