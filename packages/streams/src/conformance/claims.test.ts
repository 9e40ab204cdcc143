import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { STORES, type Store } from './drivers.ts'

describe.each(STORES)('claims on %s', (_, openStore) => {
  let store: Store
  beforeAll(async () => {
    store = await openStore()
  })
  beforeEach(() => store.flush())
  afterAll(() => store.close())

  test('[P-017] of many replicas that claim at once exactly one has it', async () => {
    const replicas = [store.open(), store.open(), store.open()]
    for (let round = 0; round < 20; round += 1) {
      const answers = await Promise.all(
        replicas.flatMap((streams, at) => [streams.claim(`k${round}`, `a${at}`, 60), streams.claim(`k${round}`, `b${at}`, 60)]),
      )
      expect(answers.filter(Boolean)).toHaveLength(1)
    }
  })

  test('[P-017] many keys at once, in opposite orders: each has one holder, and nobody waits for ever', async () => {
    const keys = Array.from({ length: 200 }, (_, at) => `many-${at}`)
    const [one, other] = [store.open(), store.open()]
    const claim = (streams: typeof one, owner: string, order: readonly string[]) =>
      Promise.all(order.map(async (key) => ((await streams.claim(key, owner, 60)) ? [key] : [])))
    const got = await Promise.all([claim(one, 'one', [...keys, ...keys]), claim(other, 'other', keys.toReversed())])
    const [ones, others] = got.map((found) => new Set(found.flat()))
    expect([...(ones ?? [])].filter((key) => others?.has(key))).toEqual([])
    expect((ones?.size ?? 0) + (others?.size ?? 0)).toBe(keys.length)
  })

  test('[P-017] the same owner may say it again: a repeated command is no replay', async () => {
    const streams = store.open()
    expect(await streams.claim('k', 'me', 60)).toBe(true)
    expect(await streams.claim('k', 'me', 60)).toBe(true)
    expect(await streams.claim('k', 'you', 60)).toBe(false)
  })

  test('a claim is given back by its owner only', async () => {
    const streams = store.open()
    await streams.claim('k', 'me', 60)
    await streams.release('k', 'you')
    expect(await streams.claim('k', 'you', 60)).toBe(false)
    await streams.release('k', 'me')
    expect(await streams.claim('k', 'you', 60)).toBe(true)
  })

  test('a claim and its end are one: it is forgotten when its time is over', async () => {
    const streams = store.open()
    await streams.claim('k', 'me', 1)
    expect(await streams.claim('k', 'you', 60)).toBe(false)
    await vi.waitFor(async () => expect(await streams.claim('k', 'you', 60)).toBe(true), { timeout: 10_000, interval: 50 })
  })
})
