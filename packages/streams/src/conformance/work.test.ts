import { randomBytes } from 'node:crypto'
import { keyRing } from '@caracal/core'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Streams, WorkConsumer, WorkMessage, WorkOutcome } from '../streams.ts'
import { KEYS, STORES, type Store } from './drivers.ts'

const STREAM = 'caracal.audit.events'
const entries = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, at) => ({ partition: `zone${(from + at) % 3}`, payload: `m${from + at}` }))
const payloads = (from: number, to: number) => entries(from, to).map((entry) => entry.payload)

describe.each(STORES)('work streams on %s', (_, openStore) => {
  let store: Store
  beforeAll(async () => {
    store = await openStore()
  })
  beforeEach(() => store.flush())
  afterAll(() => store.close())

  type Handle = (message: WorkMessage) => WorkOutcome | Promise<WorkOutcome>
  function consume(streams: Streams, handle: Handle, more: Partial<WorkConsumer> = {}) {
    return streams.consume(STREAM, {
      group: 'audit',
      consumer: `c${Math.random()}`,
      batch: 10,
      handle: async (messages) => {
        const outcomes: WorkOutcome[] = []
        for (const message of messages) outcomes.push(await handle(message))
        return outcomes
      },
      ...more,
    })
  }

  test('one consumer receives everything once, in the order it was appended, also what was there before it', async () => {
    const streams = store.open()
    await streams.append(STREAM, entries(1, 15))
    const seen: WorkMessage[] = []
    const consumer = await consume(streams, (message) => {
      seen.push(message)
      return 'done'
    })
    await streams.append(STREAM, entries(16, 30))
    await vi.waitFor(() => expect(seen).toHaveLength(30), 5_000)
    expect(seen.map((message) => message.payload)).toEqual(payloads(1, 30))
    expect(seen.map((message) => message.partition)).toEqual(entries(1, 30).map((entry) => entry.partition))
    expect(new Set(seen.map((message) => message.deliveries))).toEqual(new Set([1]))
    await consumer.stop()
  })

  test('a steady stream comes in few batches, large messages in small ones, and the first after a pause at once', async () => {
    const streams = store.open()
    const batches: string[][] = []
    const handle: WorkConsumer['handle'] = async (messages) => {
      batches.push(messages.map(({ payload }) => payload.slice(0, 4).trim()))
      return messages.map(() => 'done')
    }
    const consumer = await streams.consume(STREAM, { group: 'audit', consumer: 'c', batch: 100, gatherMs: 500, handle })
    for (const entry of entries(1, 20)) await streams.append(STREAM, [entry])
    await vi.waitFor(() => expect(batches.flat()).toEqual(payloads(1, 20)), 5_000)
    expect(batches[0]?.length).toBeLessThan(20)
    expect(batches.length).toBeLessThan(10)
    const large = entries(1, 24).map(({ partition, payload }) => ({ partition, payload: payload.padEnd(500_000) }))
    // How large they are is known from those that were taken before.
    for (const known of [false, true]) {
      batches.length = 0
      await streams.append(STREAM, large)
      await vi.waitFor(() => expect(batches.flat()).toEqual(payloads(1, 24)), 10_000)
      if (known) expect(Math.max(...batches.map(({ length }) => length))).toBeLessThanOrEqual(16)
    }
    await consumer.stop()
    await streams.close()
  })

  test('two consumers of the group share the messages', async () => {
    const seen: string[] = []
    const consumers = [store.open(), store.open()]
    for (const streams of consumers) {
      await consume(streams, (message) => {
        seen.push(message.payload)
        return 'done'
      })
    }
    await store.open().append(STREAM, entries(1, 100))
    await vi.waitFor(() => expect(seen).toHaveLength(100), 5_000)
    expect(new Set(seen).size).toBe(100)
    for (const streams of consumers) await streams.close()
  })

  test('[P-113] a message that is to be tried again comes again, with its number of deliveries', async () => {
    const streams = store.open()
    const deliveries: number[] = []
    await consume(streams, (message) => {
      deliveries.push(message.deliveries)
      return message.deliveries < 3 ? 'retry' : 'done'
    })
    await streams.append(STREAM, entries(1, 1))
    await vi.waitFor(() => expect(deliveries).toEqual([1, 2, 3]), 5_000)
    await vi.waitFor(async () => expect((await streams.health(STREAM)).lag).toBe(0), 5_000)
    await streams.close()
  })

  test('[P-113] eight tries, then it is set aside with the reason, listed, redriven and discarded by id', async () => {
    const streams = store.open()
    let broken = true
    const seen: string[] = []
    await consume(
      streams,
      ({ payload }) => {
        if (broken && payload === 'm1') throw new Error('broken')
        seen.push(payload)
        return 'done'
      },
      { batch: 1 },
    )
    await streams.append(STREAM, entries(1, 2))
    await vi.waitFor(async () => expect(await streams.quarantine.list(STREAM, 10)).toHaveLength(1), { timeout: 10_000 })
    const [aside] = await streams.quarantine.list(STREAM, 10)
    expect(aside).toMatchObject({ stream: STREAM, partition: 'zone1', payload: 'm1', reason: 'gave up after 8 tries' })
    expect(Math.abs(Date.now() - (aside?.at ?? 0))).toBeLessThan(60_000)
    expect((await streams.health(STREAM)).quarantined).toBe(1)
    expect(seen).toEqual(['m2'])
    broken = false
    const id = aside?.id ?? ''
    expect(await streams.quarantine.redrive(STREAM, id)).toBe(true)
    expect(await streams.quarantine.redrive(STREAM, id)).toBe(false)
    await vi.waitFor(() => expect(seen).toEqual(['m2', 'm1']), 5_000)
    expect(await streams.quarantine.list(STREAM, 10)).toEqual([])
    for (const none of ['', 'x', '0', '0-0', '-1']) {
      expect(await streams.quarantine.redrive(STREAM, none)).toBe(false)
      expect(await streams.quarantine.discard(STREAM, none)).toBe(false)
    }
    await streams.close()
  })

  test('a handler sets a message aside at once, and it can be discarded', async () => {
    const streams = store.open()
    await consume(streams, ({ payload }) => (payload === 'm2' ? { quarantine: 'other bytes under the same id' } : 'done'))
    await streams.append(STREAM, entries(1, 3))
    await vi.waitFor(async () => expect(await streams.quarantine.list(STREAM, 10)).toHaveLength(1), 5_000)
    const [aside] = await streams.quarantine.list(STREAM, 10)
    expect(aside?.reason).toBe('other bytes under the same id')
    expect(await streams.quarantine.discard(STREAM, aside?.id ?? '')).toBe(true)
    expect(await streams.quarantine.list(STREAM, 10)).toEqual([])
    await streams.close()
  })

  test('[P-113] while a dependency is away nothing is tried, counted or set aside; then everything goes on', async () => {
    const streams = store.open({ timing: { tries: 2, reclaimMs: 300 } })
    let away = true
    let refused = 0
    const seen: WorkMessage[] = []
    await consume(
      streams,
      (message) => {
        if (away) {
          refused += 1
          throw new Error('the database is away')
        }
        seen.push(message)
        return 'done'
      },
      { isOutage: (error) => error instanceof Error && error.message === 'the database is away' },
    )
    await streams.append(STREAM, entries(1, 5))
    await vi.waitFor(() => expect(refused).toBeGreaterThan(4), { timeout: 10_000 })
    expect((await streams.health(STREAM)).quarantined).toBe(0)
    away = false
    await vi.waitFor(() => expect(seen).toHaveLength(5), { timeout: 10_000 })
    expect(seen.map((message) => message.deliveries)).toEqual([1, 1, 1, 1, 1])
    expect(await streams.quarantine.list(STREAM, 10)).toEqual([])
    await streams.close()
  })

  test('[P-113] what a killed consumer had taken goes to another once it gave no sign of life for long enough', async () => {
    const streams = store.open()
    await streams.append(STREAM, entries(1, 3))
    await store.abandon(STREAM)
    const seen: WorkMessage[] = []
    await consume(streams, (message) => {
      seen.push(message)
      return 'done'
    })
    await streams.append(STREAM, entries(4, 4))
    await vi.waitFor(() => expect(seen.map((message) => message.payload)).toEqual(['m4']), { timeout: 500 })
    await vi.waitFor(() => expect(seen.map((message) => message.payload)).toEqual(['m4', 'm1', 'm2', 'm3']), 5_000)
    expect(seen.map((message) => message.deliveries)).toEqual([1, 2, 2, 2])
    await streams.close()
  })

  test('a slow handler keeps what it works on', async () => {
    const [first, second] = [store.open(), store.open()]
    const seen: string[] = []
    await consume(first, async ({ payload }): Promise<WorkOutcome> => {
      await new Promise((resolve) => setTimeout(resolve, 1_500))
      seen.push(`first ${payload}`)
      return 'done'
    })
    await second.append(STREAM, entries(1, 1))
    await vi.waitFor(async () => expect((await second.health(STREAM)).lag).toBe(1), 5_000)
    await consume(second, ({ payload }) => {
      seen.push(`second ${payload}`)
      return 'done'
    })
    await vi.waitFor(async () => expect((await second.health(STREAM)).lag).toBe(0), { timeout: 5_000 })
    expect(seen).toHaveLength(1)
    await Promise.all([first.close(), second.close()])
  })

  test('a consumer that is stopped gives back what it could not do, and another has it at once', async () => {
    const [first, second] = [store.open({ timing: { reclaimMs: 60_000 } }), store.open({ timing: { reclaimMs: 60_000 } })]
    let taken = 0
    await consume(
      first,
      () => {
        taken += 1
        throw new Error('away')
      },
      { isOutage: () => true },
    )
    await second.append(STREAM, entries(1, 3))
    await vi.waitFor(() => expect(taken).toBeGreaterThan(0), 5_000)
    await first.close()
    const seen: WorkMessage[] = []
    await consume(second, (message) => {
      seen.push(message)
      return 'done'
    })
    await vi.waitFor(() => expect(seen.map((message) => message.payload)).toEqual(payloads(1, 3)), 5_000)
    expect(seen.map((message) => message.deliveries)).toEqual([1, 1, 1])
    await second.close()
  })

  test('[P-100] [P-112] a changed message never reaches the handler; it is set aside, and redriving does not make it good', async () => {
    const streams = store.open()
    await streams.append(STREAM, entries(1, 2))
    await store.tamper(STREAM)
    await streams.append(STREAM, entries(3, 3))
    const seen: string[] = []
    await consume(streams, ({ payload }) => {
      seen.push(payload)
      return 'done'
    })
    await vi.waitFor(() => expect(seen).toEqual(['m3']), 5_000)
    await vi.waitFor(async () => expect(await streams.quarantine.list(STREAM, 10)).toHaveLength(2), 5_000)
    const [aside] = await streams.quarantine.list(STREAM, 10)
    expect(aside?.reason).toBe('not authentic')
    await streams.quarantine.redrive(STREAM, aside?.id ?? '')
    await vi.waitFor(async () => expect(await streams.quarantine.list(STREAM, 10)).toHaveLength(2), 5_000)
    expect(seen).toEqual(['m3'])
    await streams.close()
  })

  test('[P-112] a rotation with a backlog loses nothing', async () => {
    await store.open().append(STREAM, entries(1, 5))
    const streams = store.open({ keys: keyRing(randomBytes(32), KEYS.current.bytes) })
    await streams.append(STREAM, entries(6, 10))
    const seen: string[] = []
    await consume(streams, ({ payload }) => {
      seen.push(payload)
      return 'done'
    })
    await vi.waitFor(() => expect(seen).toEqual(payloads(1, 10)), 5_000)
    await streams.close()
  })

  test('[P-115] [P-173] only what is acknowledged is removed, and it is removed while running', async () => {
    const streams = store.open({ timing: { retryMs: 100, tries: 100 } })
    let refuse = true
    await consume(streams, ({ payload }) => (payload === 'm50' && refuse ? 'retry' : 'done'))
    await streams.append(STREAM, entries(1, 100))
    await vi.waitFor(async () => expect((await streams.health(STREAM)).lag).toBe(1), 5_000)
    await vi.waitFor(async () => expect(await store.held(STREAM)).toBeLessThanOrEqual(51), { timeout: 5_000 })
    expect(await store.held(STREAM)).toBeGreaterThanOrEqual(1)
    refuse = false
    await vi.waitFor(async () => expect(await store.held(STREAM)).toBe(0), { timeout: 8_000 })
    await streams.close()
  })

  test('[P-115] without a consumer nothing is removed, and health tells how far behind it is', async () => {
    const streams = store.open()
    for (let at = 0; at < 20; at += 1) await streams.append(STREAM, entries(at * 100 + 1, at * 100 + 100))
    expect(await store.held(STREAM)).toBe(2_000)
    await vi.waitFor(async () => expect((await streams.health(STREAM)).oldestPendingSeconds).toBeGreaterThan(0.2), 5_000)
    expect(await streams.health(STREAM)).toMatchObject({ lag: 2_000, quarantined: 0 })
    await streams.close()
  })

  test('[P-114] after a flush the consumer joins again and receives what is appended then, from the first on', async () => {
    const streams = store.open()
    const seen: string[] = []
    await consume(streams, ({ payload }) => {
      seen.push(payload)
      return 'done'
    })
    await streams.append(STREAM, entries(1, 5))
    await vi.waitFor(() => expect(seen).toHaveLength(5), 5_000)
    await store.flush()
    await streams.append(STREAM, entries(6, 10))
    await vi.waitFor(() => expect(seen).toEqual(payloads(1, 10)), 5_000)
    await streams.close()
  })

  test('[P-114] [P-175] when every connection is cut, nothing that was appended is lost', async () => {
    if (!store.cut) return // embedded: there is no connection
    const streams = store.open()
    const seen = new Set<string>()
    await consume(store.open(), ({ payload }) => {
      seen.add(payload)
      return 'done'
    })
    for (let round = 0; round < 3; round += 1) {
      await streams.append(STREAM, entries(round * 10 + 1, round * 10 + 5))
      await store.cut()
      await vi.waitFor(() => streams.append(STREAM, entries(round * 10 + 6, round * 10 + 10)), { timeout: 10_000, interval: 20 })
    }
    await vi.waitFor(() => expect(seen.size).toBe(30), { timeout: 5_000 })
  })
})
