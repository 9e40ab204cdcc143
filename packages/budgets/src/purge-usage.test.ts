import { afterAll, beforeAll, expect, test } from 'vitest'
import { purgeUsageJob } from './purge-usage.ts'
import { type BudgetWorld, budgetWorld, START } from './test-support/budget-world.ts'

const DAY = 86_400_000

let world: BudgetWorld
beforeAll(async () => {
  world = await budgetWorld()
})
afterAll(() => world?.close())

test('usage is forgotten after its retention, batch by batch, of every zone, until none is left; what windows count, and what is settled twice, is not touched', async () => {
  const zones = [await world.zone(), await world.zone()] as const
  const [zone] = zones
  const budget = await zone.budget({ limit: { calls: 1_000 } })
  const monthly = await zone.budget({ limit: { calls: 1_000 }, window: 'rolling', per: 'month' })
  await zones[1].budget({ limit: { calls: 1_000 } })
  for (let n = 0; n < 7; n += 1) for (const one of zones) await one.settle((await one.reserve()).request)
  world.clock.now = START + 10 * DAY
  const recent = (await zone.reserve()).request
  await zone.settle(recent)
  const open = (await zone.reserve()).request

  const batches: number[] = []
  let demanded = 0
  const job = purgeUsageJob({
    database: world.database.as('sts'),
    clock: () => world.clock.now,
    keepMs: 9 * DAY,
    batch: 3,
    onDone: (many) => batches.push(many),
  })
  const demand = async () => {
    demanded += 1
  }
  world.clock.now = START + 9 * DAY
  expect(await job.step({ demand })).toBe(false)
  world.clock.now = START + 10 * DAY
  while (await job.step({ demand })) {}
  expect(batches.reduce((sum, many) => sum + many, 0)).toBe(14)
  expect(Math.max(...batches)).toBeLessThanOrEqual(3)
  expect(demanded).toBe(batches.length)
  expect((await zone.usage()).map(({ request }) => request)).toEqual([recent])
  expect(await zones[1].usage()).toEqual([])

  expect(await zone.standing(budget)).toMatchObject({ spent: '8', reserved: '1' })
  expect(await zone.standing(monthly)).toMatchObject({ spent: '8', reserved: '1' })
  expect(await zone.settle(recent)).toBe('repeated')
  expect(await zone.settle(open)).toBe('settled')
})
