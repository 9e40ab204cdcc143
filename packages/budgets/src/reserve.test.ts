import { newId } from '@caracal/core'
import { archiveBudget, updateBudget } from '@caracal/postgres'
import { describe, expect, test } from 'vitest'
import { freshZones, reserveOrder, START } from './test-support/budget-world.ts'

const EUR = (amount: string) => ({ amount, currency: 'EUR' })

describe('provisional charges', () => {
  const here = freshZones()

  test('money is counted to the millionth: three thirds of what is left fit, and not one more', async () => {
    const budget = await here.zone.budget({ limit: EUR('0.3') })
    const price = EUR('0.1')
    for (const _ of [1, 2, 3]) expect((await here.zone.reserve({ price })).outcome).toBe('charged')
    expect(await here.zone.reserve({ price: EUR('0.000001') })).toMatchObject({
      outcome: 'budget_exceeded',
      data: { remaining: '0', unit: 'EUR' },
    })
    expect(await here.zone.standing(budget)).toMatchObject({ spent: '0', reserved: '0.3', remaining: '0' })
  })

  test('a refusal says what is left of the tightest budget and when there is more, and takes nothing of the others', async () => {
    const wide = await here.zone.budget({ limit: EUR('100') })
    const narrow = await here.zone.budget({ limit: EUR('1.5'), window: 'calendar', per: 'day' })
    expect((await here.zone.reserve({ price: EUR('1') })).outcome).toBe('charged')
    expect(await here.zone.reserve({ price: EUR('0.6') })).toMatchObject({
      outcome: 'budget_exceeded',
      data: { remaining: '0.5', unit: 'EUR', resets_at: '2026-03-18T00:00:00.000Z' },
    })
    expect(await here.zone.standing(wide)).toMatchObject({ reserved: '1' })
    expect(await here.zone.standing(narrow)).toMatchObject({ reserved: '1' })
  })

  test('[P-045] a child spends its parents’ money too: every budget of the lineage pays, and the tightest decides', async () => {
    const [root, child] = [newId('session'), newId('session')]
    const delegation = newId('delegation')
    const subject = newId('subject')
    const budgets = {
      application: await here.zone.budget({ limit: EUR('10') }),
      root: await here.zone.budget({ holder: root, limit: EUR('3') }),
      child: await here.zone.budget({ holder: child, limit: EUR('9') }),
      delegation: await here.zone.budget({ holder: delegation, limit: { calls: 5 } }),
      subject: await here.zone.budget({ holder: subject, limit: EUR('8') }),
    }
    const holders = [here.zone.application, root, child, delegation, subject]
    expect((await here.zone.reserve({ holders, price: EUR('2') })).outcome).toBe('charged')
    expect(await here.zone.reserve({ holders, price: EUR('2') })).toMatchObject({ outcome: 'budget_exceeded', data: { remaining: '1' } })
    // A sibling under the same root finds only what is left there.
    expect(await here.zone.reserve({ holders: [here.zone.application, root], price: EUR('2') })).toMatchObject({
      outcome: 'budget_exceeded',
    })
    expect((await here.zone.reserve({ holders: [here.zone.application, root], price: EUR('1') })).outcome).toBe('charged')
    const spent = await Promise.all(Object.values(budgets).map(async (budget) => (await here.zone.standing(budget)).reserved))
    expect(spent).toEqual(['3', '3', '2', '1', '2'])
  })

  test.each([
    ['no budget, none required', {}, 'unmetered'],
    ['no budget, one required', { required: true }, 'budget_required'],
    ['a price and none, one required', { required: true, price: EUR('1') }, 'budget_required'],
  ])('without a budget: %s', async (_, order, outcome) => {
    expect((await here.zone.reserve(order)).outcome).toBe(outcome)
    expect(await here.zone.usage()).toEqual([])
  })

  test('a budget in money does not count a call without a price: where one is required, it is refused', async () => {
    await here.zone.budget({ limit: EUR('5') })
    expect((await here.zone.reserve()).outcome).toBe('unmetered')
    expect((await here.zone.reserve({ required: true })).outcome).toBe('budget_required')
    await here.zone.budget({ limit: { calls: 1 } })
    expect((await here.zone.reserve({ required: true })).outcome).toBe('charged')
  })

  test('[P-045] another currency is a refusal and no conversion, also beside a budget in the right one', async () => {
    const euros = await here.zone.budget({ limit: EUR('5') })
    await here.zone.budget({ limit: { amount: '5', currency: 'USD' } })
    expect(await here.zone.reserve({ price: EUR('1') })).toMatchObject({ outcome: 'budget_currency', data: { currency: 'USD' } })
    expect(await here.zone.standing(euros)).toMatchObject({ reserved: '0' })
    expect((await here.zone.reserve()).outcome).toBe('unmetered')
  })

  test('a budget of a zone is nothing to another zone, whoever is named', async () => {
    await here.zone.budget({ limit: { calls: 0 } })
    const other = await here.world.zone()
    expect((await other.reserve({ holders: [here.zone.application] })).outcome).toBe('unmetered')
    expect((await here.zone.reserve()).outcome).toBe('budget_exceeded')
  })

  test('another limit counts from the next call on; an archived budget pays for nothing new and is settled to the end', async () => {
    const budget = await here.zone.budget({ limit: { calls: 1 } })
    const first = await here.zone.reserve()
    expect((await here.zone.reserve()).outcome).toBe('budget_exceeded')
    const { window, per, ...rest } = budget
    const wider = await updateBudget(here.world.database.query, budget, { ...rest, window, per, limit: { calls: 2 } }, START)
    if (!wider.ok) throw new Error(wider.reason)
    expect((await here.zone.reserve()).outcome).toBe('charged')
    expect((await archiveBudget(here.world.database.query, wider.value, START)).ok).toBe(true)
    expect((await here.zone.reserve()).outcome).toBe('unmetered')
    expect(await here.zone.settle(first.request)).toBe('settled')
    expect(await here.zone.usage()).toMatchObject([{ request: first.request, budgets: [budget.id] }])
  })

  test('[4-17] [P-045] 100 parallel calls from two desks on room for 10: exactly ten', async () => {
    const budget = await here.zone.budget({ limit: EUR('2.5') })
    const desks = [here.zone.desk, here.zone.anotherDesk()]
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        desks[index % 2]?.submit(here.zone.id, [reserveOrder(here.zone.application, { price: EUR('0.25') })]),
      ),
    )
    const outcomes = answers
      .flatMap((one) => one ?? [])
      .map((answer) => answer.act === 'reserve' && (answer.result.ok || answer.result.reason))
    expect(outcomes.filter((outcome) => outcome === true)).toHaveLength(10)
    expect(outcomes.filter((outcome) => outcome === 'budget_exceeded')).toHaveLength(90)
    expect(await here.zone.standing(budget)).toMatchObject({ reserved: '2.5', remaining: '0' })
  })

  test('lineages that cross in many desks at once neither deadlock nor overspend', async () => {
    const holders = Array.from({ length: 6 }, () => newId('session'))
    const budgets = await Promise.all(holders.map((holder) => here.zone.budget({ holder, limit: { calls: 40 } })))
    const desks = Array.from({ length: 4 }, () => here.zone.anotherDesk())
    const pick = (seed: number) => [...holders].sort((a, b) => (a + seed > b + seed ? 1 : -1) * (seed % 2 === 0 ? 1 : -1)).slice(seed % 4)
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, index) =>
        desks[index % desks.length]?.submit(here.zone.id, [reserveOrder(here.zone.application, { holders: pick(index) })]),
      ),
    )
    const charged = answers.flatMap((one) => one ?? []).filter((answer) => answer.act === 'reserve' && answer.result.ok).length
    const reserved = await Promise.all(budgets.map(async (budget) => Number((await here.zone.standing(budget)).reserved)))
    expect(Math.max(...reserved)).toBe(40)
    expect(charged).toBeGreaterThanOrEqual(40)
  })
})
