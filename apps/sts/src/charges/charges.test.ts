import { type Budget, newId } from '@caracal/core'
import { createBudget } from '@caracal/postgres'
import Type from 'typebox'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { established, openWorld, type World } from '../test-support/world.ts'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world?.close())

const Reply = Type.Object({}, { additionalProperties: true })

const charge = (orders: readonly unknown[], caller = 'gateway') =>
  world.internal(caller).call('/internal/charges', { orders }, { reply: Reply, timeoutMs: 30_000 })

type Client = Awaited<ReturnType<World['application']>>

const order = (client: Pick<Client, 'id' | 'zone'>, more: object = {}) => ({
  act: 'reserve',
  zone: client.zone,
  request: newId('request'),
  what: { application: client.id, subject: null, session: null, resource: 'https://a.example', operation: 'GET /a' },
  holders: [client.id],
  price: null,
  required: false,
  ttl: 30,
  ...more,
})

async function budgeted(calls: number): Promise<{ readonly client: Client; readonly budget: Budget }> {
  const client = await world.application((await world.zone()).id)
  const fields = { name: 'b', holder: client.id, limit: { calls }, window: 'total', per: null } as const
  const made = await createBudget(world.fixtures.query, { ...fields, id: newId('budget'), zone: client.zone }, Date.now())
  return { client, budget: established(made) }
}

describe('charges over the wire', () => {
  test('orders of several zones in one call are answered in their order, each zone by its own budgets', async () => {
    const [one, two] = [await budgeted(1), await budgeted(5)]
    const [first, second, third, fourth] = [order(one.client), order(two.client), order(one.client), order(two.client)]
    const foreign = order(one.client, { zone: two.client.zone })
    expect(await charge([first, second, third, fourth, foreign])).toMatchObject({
      value: {
        answers: [
          { outcome: 'charged', expiresAt: expect.any(Number) },
          { outcome: 'charged' },
          { outcome: 'refused', reason: 'budget_exceeded', data: { remaining: '0', unit: 'calls' } },
          { outcome: 'charged' },
          { outcome: 'unmetered' },
        ],
      },
    })
    const end = (act: string, of: { readonly zone: string; readonly request: string }) => ({
      act,
      zone: of.zone,
      request: of.request,
      ...(act === 'settle' ? { actual: null } : {}),
    })
    // A charge is settled in its own zone only.
    const elsewhere = { ...end('settle', first), zone: two.client.zone }
    expect(await charge([elsewhere, end('settle', first), end('release', second), end('release', third)])).toMatchObject({
      value: { answers: [{ outcome: 'unknown' }, { outcome: 'settled' }, { outcome: 'released' }, { outcome: 'unknown' }] },
    })
  })

  test.each(['api', 'coordinator', 'audit'])('[P-015] %s may not charge anybody', async (caller) => {
    expect(await charge([], caller)).toMatchObject({ ok: false, reason: 'forbidden' })
  })

  test.each([
    ['another act', { act: 'take' }],
    ['a zone that is none', { zone: 'zon_1' }],
    ['an amount that is a number', { price: { amount: 1, currency: 'EUR' } }],
    ['an amount below zero', { price: { amount: '-1', currency: 'EUR' } }],
    ['a time of nothing', { ttl: 0 }],
    ['a member that nobody knows', { more: true }],
  ])('[P-126] %s refuses the whole call and charges nobody', async (_, more) => {
    const { client } = await budgeted(1)
    expect(await charge([order(client), order(client, more)])).toMatchObject({ ok: false, reason: 'validation_failed' })
    expect(await charge([order(client)])).toMatchObject({ value: { answers: [{ outcome: 'charged' }] } })
  })
})
