import { newId } from '@caracal/core'
import { archiveBudget, updateBudget } from '@caracal/postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type BudgetWorld, type BudgetZone, budgetWorld, reserveOrder, START } from './test-support/budget-world.ts'

const EUR = (amount: string) => ({ amount, currency: 'EUR' })

describe('provisional charges', () => {
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

  test('money is counted to the millionth: three thirds of what is left fit, and not one more', async () => {
    const budget = await zone.budget({ limit: EUR('0.3') })
    const price = EUR('0.1')
    for (const _ of [1, 2, 3]) expect((await zone.reserve({ price })).outcome).toBe('charged')
    expect(await zone.reserve({ price: EUR('0.000001') })).toMatchObject({
      outcome: 'budget_exceeded',
      data: { remaining: '0', unit: 'EUR' },
    })
    expect(await zone.standing(budget)).toMatchObject({ spent: '0', reserved: '0.3', remaining: '0' })
  })

  test('a refusal says what is left of the tightest budget and when there is more, and takes nothing of the others', async () => {
    const wide = await zone.budget({ limit: EUR('100') })
    const narrow = await zone.budget({ limit: EUR('1.5'), window: 'calendar', per: 'day' })
    expect((await zone.reserve({ price: EUR('1') })).outcome).toBe('charged')
    expect(await zone.reserve({ price: EUR('0.6') })).toMatchObject({
      outcome: 'budget_exceeded',
      data: { remaining: '0.5', unit: 'EUR', resets_at: '2026-03-18T00:00:00.000Z' },
    })
    expect(await zone.standing(wide)).toMatchObject({ reserved: '1' })
    expect(await zone.standing(narrow)).toMatchObject({ reserved: '1' })
  })

  test('[P-045] a child spends its parents’ money too: every budget of the lineage pays, and the tightest decides', async () => {
    const [root, child] = [newId('session'), newId('session')]
    const delegation = newId('delegation')
    const subject = newId('subject')
    const budgets = {
      application: await zone.budget({ limit: EUR('10') }),
      root: await zone.budget({ holder: root, limit: EUR('3') }),
      child: await zone.budget({ holder: child, limit: EUR('9') }),
      delegation: await zone.budget({ holder: delegation, limit: { calls: 5 } }),
      subject: await zone.budget({ holder: subject, limit: EUR('8') }),
    }
    const holders = [zone.application, root, child, delegation, subject]
    expect((await zone.reserve({ holders, price: EUR('2') })).outcome).toBe('charged')
    expect(await zone.reserve({ holders, price: EUR('2') })).toMatchObject({ outcome: 'budget_exceeded', data: { remaining: '1' } })
    // A sibling under the same root finds only what is left there.
    expect(await zone.reserve({ holders: [zone.application, root], price: EUR('2') })).toMatchObject({ outcome: 'budget_exceeded' })
    expect((await zone.reserve({ holders: [zone.application, root], price: EUR('1') })).outcome).toBe('charged')
    const spent = await Promise.all(Object.values(budgets).map(async (budget) => (await zone.standing(budget)).reserved))
    expect(spent).toEqual(['3', '3', '2', '1', '2'])
  })

  test.each([
    ['no budget, none required', {}, 'unmetered'],
    ['no budget, one required', { required: true }, 'budget_required'],
    ['a price and none, one required', { required: true, price: EUR('1') }, 'budget_required'],
  ])('without a budget: %s', async (_, order, outcome) => {
    expect((await zone.reserve(order)).outcome).toBe(outcome)
    expect(await zone.usage()).toEqual([])
  })

  test('a budget in money does not count a call without a price: where one is required, it is refused', async () => {
    await zone.budget({ limit: EUR('5') })
    expect((await zone.reserve()).outcome).toBe('unmetered')
    expect((await zone.reserve({ required: true })).outcome).toBe('budget_required')
    await zone.budget({ limit: { calls: 1 } })
    expect((await zone.reserve({ required: true })).outcome).toBe('charged')
  })

  test('[P-045] another currency is a refusal and no conversion, also beside a budget in the right one', async () => {
    const euros = await zone.budget({ limit: EUR('5') })
    await zone.budget({ limit: { amount: '5', currency: 'USD' } })
    expect(await zone.reserve({ price: EUR('1') })).toMatchObject({ outcome: 'budget_currency', data: { currency: 'USD' } })
    expect(await zone.standing(euros)).toMatchObject({ reserved: '0' })
    expect((await zone.reserve()).outcome).toBe('unmetered')
  })

  test('a budget of a zone is nothing to another zone, whoever is named', async () => {
    await zone.budget({ limit: { calls: 0 } })
    const other = await world.zone()
    expect((await other.reserve({ holders: [zone.application] })).outcome).toBe('unmetered')
    expect((await zone.reserve()).outcome).toBe('budget_exceeded')
  })

  test('another limit counts from the next call on; an archived budget pays for nothing new and is settled to the end', async () => {
    const budget = await zone.budget({ limit: { calls: 1 } })
    const first = await zone.reserve()
    expect((await zone.reserve()).outcome).toBe('budget_exceeded')
    const { window, per, ...rest } = budget
    const wider = await updateBudget(world.database.query, budget, { ...rest, window, per, limit: { calls: 2 } }, START)
    if (!wider.ok) throw new Error(wider.reason)
    expect((await zone.reserve()).outcome).toBe('charged')
    expect((await archiveBudget(world.database.query, wider.value, START)).ok).toBe(true)
    expect((await zone.reserve()).outcome).toBe('unmetered')
    expect(await zone.settle(first.request)).toBe('settled')
    expect(await zone.usage()).toMatchObject([{ request: first.request, budgets: [budget.id] }])
  })

  test('[4-17] [P-045] 100 parallel calls from two desks on room for 10: exactly ten', async () => {
    const budget = await zone.budget({ limit: EUR('2.5') })
    const desks = [zone.desk, zone.anotherDesk()]
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        desks[index % 2]?.submit(zone.id, [reserveOrder(zone.application, { price: EUR('0.25') })]),
      ),
    )
    const outcomes = answers
      .flatMap((one) => one ?? [])
      .map((answer) => answer.act === 'reserve' && (answer.result.ok || answer.result.reason))
    expect(outcomes.filter((outcome) => outcome === true)).toHaveLength(10)
    expect(outcomes.filter((outcome) => outcome === 'budget_exceeded')).toHaveLength(90)
    expect(await zone.standing(budget)).toMatchObject({ reserved: '2.5', remaining: '0' })
  })

  test('lineages that cross in many desks at once neither deadlock nor overspend', async () => {
    const holders = Array.from({ length: 6 }, () => newId('session'))
    const budgets = await Promise.all(holders.map((holder) => zone.budget({ holder, limit: { calls: 40 } })))
    const desks = Array.from({ length: 4 }, () => zone.anotherDesk())
    const pick = (seed: number) => [...holders].sort((a, b) => (a + seed > b + seed ? 1 : -1) * (seed % 2 === 0 ? 1 : -1)).slice(seed % 4)
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, index) =>
        desks[index % desks.length]?.submit(zone.id, [reserveOrder(zone.application, { holders: pick(index) })]),
      ),
    )
    const charged = answers.flatMap((one) => one ?? []).filter((answer) => answer.act === 'reserve' && answer.result.ok).length
    const reserved = await Promise.all(budgets.map(async (budget) => Number((await zone.standing(budget)).reserved)))
    expect(Math.max(...reserved)).toBe(40)
    expect(charged).toBeGreaterThanOrEqual(40)
  })
})
