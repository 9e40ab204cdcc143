import { newId, ok, type Result, refuse } from '@caracal/core'
import type { ChargeRequest } from '@caracal/enforcement'
import { createLogger, createMetrics, type InternalClient } from '@caracal/service'
import { describe, expect, test } from 'vitest'
import { ChargeClient } from './charge-client.ts'
import { chargeAnswered, chargeUnanswered, headerIn } from './settle-charge.ts'

type Order = { readonly act: string; readonly request: string; readonly actual?: string | null }
type Answer = Result<{ readonly answers: readonly { readonly outcome: string }[] }>

const zone = newId('zone')
const order = (): ChargeRequest => ({
  zone,
  request: newId('request'),
  what: { application: newId('application'), subject: null, session: null, resource: 'https://a.example', operation: null },
  holders: [],
  price: null,
  required: false,
  ttl: 1,
})

/** The STS as these functions answer for it, one call after another; the last one stays. */
function stsThat(...answers: ((orders: readonly Order[]) => Answer | Promise<Answer>)[]) {
  const calls: (readonly Order[])[] = []
  const call = async (_path: string, body: unknown) => {
    const { orders } = body as { orders: readonly Order[] }
    calls.push(orders)
    const answer = answers.length > 1 ? answers.shift() : answers[0]
    return answer?.(orders) ?? refuse('sts_unavailable')
  }
  const metrics = createMetrics({ service: 'gateway', version: 'test', mode: 'dev' })
  const client = new ChargeClient({
    client: { call } as unknown as Pick<InternalClient, 'call'>,
    required: false,
    logger: createLogger({ name: 'test', level: 'silent' }),
    metrics,
  })
  return { client, calls }
}

const works = (orders: readonly Order[]): Answer =>
  ok({ answers: orders.map(({ act }) => (act === 'reserve' ? { outcome: 'charged', expiresAt: 7 } : { outcome: `${act}d` })) })

describe('charges at the STS', () => {
  test('what comes together goes together, and what comes while a call is on its way goes in the next', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const { client, calls } = stsThat(async (orders) => {
      await promise
      return works(orders)
    }, works)
    const first = [client.reserve(order()), client.reserve(order())]
    await expect.poll(() => calls.length).toBe(1)
    const second = Array.from({ length: 5 }, () => client.reserve(order()))
    resolve()
    const taken = await Promise.all([...first, ...second])
    expect(calls.map((orders) => orders.length)).toEqual([2, 5])
    expect(taken.every((one) => one.ok && one.value?.expiresAt === 7)).toBe(true)
  })

  test('a settlement goes with the next reservation or soon by itself, once, whatever is called after it', async () => {
    const { client, calls } = stsThat(works)
    const taken = await client.reserve(order())
    if (!taken.ok || taken.value === null) throw new Error('not charged')
    taken.value.settle('0.5')
    taken.value.settle('0.7')
    await taken.value.release()
    await client.close(5_000)
    expect(calls.flat().map(({ act, actual }) => `${act} ${actual ?? ''}`)).toEqual(['reserve ', 'settle 0.5'])
  })

  test('[P-076] without an answer nothing is let through; what is settled is kept until it is answered, what may have been taken is released', async () => {
    const { client, calls } = stsThat(works, () => refuse('sts_unavailable'), works)
    const taken = await client.reserve(order())
    if (!taken.ok || taken.value === null) throw new Error('not charged')
    taken.value.settle('not an amount')
    const unknown = order()
    expect(await client.reserve(unknown)).toMatchObject({ ok: false, reason: 'sts_unavailable' })
    await expect.poll(() => calls.length, { timeout: 10_000 }).toBe(3)
    expect(calls[2]).toMatchObject([
      { act: 'settle', actual: null },
      { act: 'release', request: unknown.request },
    ])
    await client.close(5_000)
  })

  test.each<[string, Answer, string]>([
    [
      'a refusal of the book',
      ok({ answers: [{ outcome: 'refused', reason: 'budget_exceeded' } as { outcome: string }] }),
      'budget_exceeded',
    ],
    ['a reason that nobody knows', ok({ answers: [{ outcome: 'refused', reason: 'no' } as { outcome: string }] }), 'store_unavailable'],
    ['an answer for something else', ok({ answers: [] }), 'sts_unavailable'],
    ['a database that is away', refuse('store_unavailable'), 'store_unavailable'],
    ['a key that is not accepted', refuse('unauthenticated'), 'store_unavailable'],
  ])('[P-076] %s refuses the call', async (_, answer, reason) => {
    const { client } = stsThat(() => answer)
    expect(await client.reserve(order())).toMatchObject({ ok: false, reason })
  })

  test('a client that stops sends what is left, and does not wait for ever', async () => {
    const { client } = stsThat(works, () => refuse('sts_unavailable'))
    const taken = await client.reserve(order())
    if (taken.ok) taken.value?.settle()
    await client.close(50)
  })
})

describe('the end of a charge', () => {
  const ending = () => {
    const ended: string[] = []
    return {
      ended,
      charge: {
        expiresAt: 0,
        settle: (actual?: string) => ended.push(`settled ${actual ?? ''}`),
        release: async () => void ended.push('released'),
      },
    }
  }
  const price = { amount: '1', currency: 'EUR', actual: 'x-cost' }

  test.each([
    [200, ['X-Cost', '0.5'], 'settled 0.5'],
    [404, ['x-cost', '0.5'], 'settled 0.5'],
    [200, [], 'settled '],
    [200, ['X-Cost', '0.5', 'x-cost', '0.1'], 'settled '],
    [500, ['X-Cost', '0.5'], 'released'],
    [503, [], 'released'],
  ])('[P-045] an answer of %i with %j: %s', (status, raw, how) => {
    const { ended, charge } = ending()
    chargeAnswered(charge, price, { status, header: (name) => headerIn(raw, name) })
    expect(ended).toEqual([how])
  })

  test('[P-045] without an answer it is paid if it may have had its effect, and given back if it never left', () => {
    const { ended, charge } = ending()
    chargeUnanswered(charge, true)
    chargeUnanswered(charge, false)
    chargeUnanswered(null, true)
    expect(ended).toEqual(['settled ', 'released'])
  })
})
