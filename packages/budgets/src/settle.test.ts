import { runJob } from '@caracal/postgres'
import { describe, expect, test } from 'vitest'
import { expireChargesJob } from './expire-charges.ts'
import { EXPIRATION_MS, freshZones, START } from './test-support/budget-world.ts'

const EUR = (amount: string) => ({ amount, currency: 'EUR' })
const DAY = 86_400_000

describe('charges in the end', () => {
  const here = freshZones()

  /** One run of the job, in steps of so many. */
  const sweep = async (batch = 1_000) => {
    const job = expireChargesJob({ database: here.world.database.as('sts'), clock: () => here.world.clock.now, everyMs: 60_000, batch })
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
    const budget = await here.zone.budget({ limit: EUR('1') })
    const { request } = await here.zone.reserve({ price: EUR('0.5') })
    expect(await here.zone.settle(request, actual)).toBe('settled')
    expect(await here.zone.standing(budget)).toMatchObject({ spent: amount, reserved: '0', remaining })
    expect(await here.zone.usage()).toMatchObject([
      { request, amount, currency: 'EUR', budgets: [budget.id], late: false, at: START, settledAt: START, operation: 'POST /pay' },
    ])
  })

  test('of what ends one charge at once the first counts, whatever the others say', async () => {
    const budget = await here.zone.budget({ limit: EUR('1') })
    const [one, other] = [await here.zone.reserve({ price: EUR('0.25') }), await here.zone.reserve({ price: EUR('0.25') })]
    const settle = (request: typeof one.request, actual: string) => ({ act: 'settle', request, actual }) as const
    const answers = await here.zone.desk.submit(here.zone.id, [
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
    expect(await here.zone.standing(budget)).toMatchObject({ spent: '0.1', reserved: '0', remaining: '0.9' })
  })

  test('settling is once: repeated it changes nothing, and a release after it gives nothing back', async () => {
    const budget = await here.zone.budget({ limit: EUR('1') })
    const { request } = await here.zone.reserve({ price: EUR('0.5') })
    expect(await Promise.all([here.zone.settle(request), here.zone.settle(request)])).toEqual(['settled', 'repeated'])
    expect(await here.zone.settle(request, '0.1')).toBe('repeated')
    expect(await here.zone.release(request)).toBe('unknown')
    expect(await here.zone.standing(budget)).toMatchObject({ spent: '0.5', remaining: '0.5' })
    expect(await here.zone.usage()).toHaveLength(1)
  })

  test('a reservation that is asked for twice is one', async () => {
    const budget = await here.zone.budget({ limit: { calls: 5 } })
    const { request } = await here.zone.reserve()
    expect((await here.zone.reserve({ request })).outcome).toBe('charged')
    await here.zone.settle(request)
    expect((await here.zone.reserve({ request })).outcome).toBe('charged')
    expect(await here.zone.standing(budget)).toMatchObject({ spent: '1', reserved: '0' })
  })

  test('[P-045] a release gives back all of it, at once, and leaves no usage; what nobody charged is unknown', async () => {
    const budget = await here.zone.budget({ limit: { calls: 1 } })
    const { request } = await here.zone.reserve()
    expect((await here.zone.reserve()).outcome).toBe('budget_exceeded')
    expect(await here.zone.release(request)).toBe('released')
    expect(await here.zone.release(request)).toBe('unknown')
    expect(await here.zone.settle(request)).toBe('unknown')
    expect((await here.zone.reserve()).outcome).toBe('charged')
    expect(await here.zone.standing(budget)).toMatchObject({ spent: '0', reserved: '1' })
    expect(await here.zone.usage()).toEqual([])
  })

  test('[4-17] [P-045] what nobody settles is given back when its time is over: 300 s, or longer where that was asked for, and 3600 s at most', async () => {
    const budget = await here.zone.budget({ limit: { calls: 3 } })
    await here.zone.reserve({ ttl: 10 })
    await here.zone.reserve({ ttl: 600 })
    await here.zone.reserve({ ttl: 100_000 })
    here.world.clock.now = START + EXPIRATION_MS - 1
    await sweep()
    expect(await here.zone.standing(budget)).toMatchObject({ reserved: '3' })
    for (const [later, reserved] of [
      [EXPIRATION_MS, '2'],
      [600_000, '1'],
      [3_599_999, '1'],
      [3_600_000, '0'],
    ] as const) {
      here.world.clock.now = START + later
      await sweep()
      expect(await here.zone.standing(budget)).toMatchObject({ reserved })
    }
    expect(await here.zone.usage()).toEqual([])
  })

  test('[P-045] a settlement that comes after the expiry is recorded, once, and counts', async () => {
    const budget = await here.zone.budget({ limit: EUR('1') })
    const { request } = await here.zone.reserve({ price: EUR('0.75') })
    here.world.clock.now += EXPIRATION_MS
    await sweep()
    expect(await here.zone.standing(budget)).toMatchObject({ spent: '0', reserved: '0' })
    expect(await here.zone.settle(request)).toBe('late')
    expect(await here.zone.settle(request)).toBe('repeated')
    expect(await here.zone.standing(budget)).toMatchObject({ spent: '0.75', remaining: '0.25' })
    expect(await here.zone.usage()).toMatchObject([{ request, late: true, at: START, settledAt: START + EXPIRATION_MS }])
  })

  test('an expired charge is kept for a week and then forgotten', async () => {
    await here.zone.budget({ limit: { calls: 2 } })
    const [early, late] = [await here.zone.reserve(), await here.zone.reserve()]
    here.world.clock.now = START + EXPIRATION_MS
    await sweep()
    here.world.clock.now = START + EXPIRATION_MS + 7 * DAY - 1
    await sweep()
    expect(await here.zone.settle(early.request)).toBe('late')
    here.world.clock.now += 1
    await sweep()
    expect(await here.zone.settle(late.request)).toBe('unknown')
  })

  test('[4-17] the sweep goes in batches, step after step until nothing is left', async () => {
    const budget = await here.zone.budget({ limit: { calls: 100 } })
    for (let made = 0; made < 5; made += 1) await here.zone.reserve()
    here.world.clock.now = START + EXPIRATION_MS
    expect(await sweep(2)).toBe(3)
    expect(await here.zone.standing(budget)).toMatchObject({ reserved: '0' })
  })

  test('the job runs under the role of the STS, and what a lost lease was about to give back stays charged', async () => {
    const budget = await here.zone.budget({ limit: { calls: 1 } })
    await here.zone.reserve()
    here.world.clock.now = START + EXPIRATION_MS
    const job = expireChargesJob({ database: here.world.database.as('sts'), clock: () => here.world.clock.now, everyMs: 10, batch: 10 })
    const lost = job.step({ demand: () => Promise.reject(new Error('lost')) })
    await expect(lost).rejects.toThrow('lost')
    expect(await here.zone.standing(budget)).toMatchObject({ reserved: '1' })
    const silent = { warn: () => {}, error: () => {} }
    const running = runJob(job, { database: here.world.database.as('sts'), logger: silent })
    await expect.poll(async () => (await here.zone.standing(budget)).reserved).toBe('0')
    await running.stop()
  })
})
