import { randomBytes } from 'node:crypto'
import { keyRing } from '@caracal/core'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { KEYS, recorder, STORES, type Store } from './drivers.ts'

const STREAM = 'caracal.revocations'
const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => `m${from + at}`)

describe.each(STORES)('broadcast streams on %s', (_, openStore) => {
  let store: Store
  beforeAll(async () => {
    store = await openStore()
  })
  beforeEach(() => store.flush())
  afterAll(() => store.close())

  async function publish(streams: ReturnType<Store['open']>, payloads: readonly string[]): Promise<string> {
    let last = ''
    for (const payload of payloads) last = await streams.publish(STREAM, payload)
    return last
  }

  test('[P-111] every subscriber receives every message, in order', async () => {
    const writer = store.open()
    const readers = [recorder(), recorder(), recorder()]
    const from = await writer.tip(STREAM)
    for (const reader of readers) await store.open().subscribe(STREAM, from, reader)
    await publish(writer, numbers(1, 50))
    for (const reader of readers) {
      await vi.waitFor(() => expect(reader.seen).toHaveLength(50), 5_000)
      expect(reader.seen).toEqual(numbers(1, 50))
      expect(reader.gaps).toEqual([])
    }
  })

  test('[P-057] what is published between taking the tip and subscribing is delivered, and nothing from before', async () => {
    const streams = store.open()
    await publish(streams, numbers(1, 5))
    const tip = await streams.tip(STREAM)
    await publish(streams, numbers(6, 9))
    const reader = recorder()
    await streams.subscribe(STREAM, tip, reader)
    await vi.waitFor(() => expect(reader.seen).toEqual(numbers(6, 9)), 5_000)
    expect(reader.gaps).toEqual([])
  })

  test('the position of a message is where one can go on after it', async () => {
    const streams = store.open()
    const first = recorder()
    await streams.subscribe(STREAM, await streams.tip(STREAM), first)
    await publish(streams, numbers(1, 6))
    await vi.waitFor(() => expect(first.seen).toHaveLength(6), 5_000)
    const second = recorder()
    await streams.subscribe(STREAM, first.positions[2] ?? '', second)
    await vi.waitFor(() => expect(second.seen).toEqual(numbers(4, 6)), 5_000)
    expect(second.gaps).toEqual([])
  })

  test('many writers at once: no reader misses or doubles one', async () => {
    const reader = recorder()
    await store.open().subscribe(STREAM, '', reader)
    const writers = [store.open(), store.open(), store.open()]
    await Promise.all(writers.map((writer, at) => Promise.all(Array.from({ length: 40 }, (_, n) => writer.publish(STREAM, `${at}.${n}`)))))
    await vi.waitFor(() => expect(reader.seen).toHaveLength(120), 5_000)
    expect(new Set(reader.seen).size).toBe(120)
    expect(reader.gaps).toEqual([])
  })

  test('a handler is called for one message at a time, and one that throws does not stop the rest', async () => {
    const streams = store.open()
    let running = 0
    const seen: string[] = []
    await streams.subscribe(STREAM, await streams.tip(STREAM), {
      onMessage: async ({ payload }) => {
        running += 1
        expect(running).toBe(1)
        await new Promise((resolve) => setTimeout(resolve, 5))
        running -= 1
        seen.push(payload)
        if (payload === 'm2') throw new Error('broken')
      },
      onGap: () => {},
    })
    await publish(streams, numbers(1, 5))
    await vi.waitFor(() => expect(seen).toEqual(numbers(1, 5)), 5_000)
  })

  test('[P-057] a subscriber whose next message was trimmed is told, then goes on with what is there', async () => {
    const streams = store.open()
    const tip = await streams.tip(STREAM)
    await publish(streams, numbers(1, 6))
    await store.trim(STREAM, 3)
    const reader = recorder()
    await streams.subscribe(STREAM, tip, reader)
    await vi.waitFor(() => expect(reader.seen).toEqual(numbers(4, 6)), 5_000)
    expect(reader.gaps).toHaveLength(1)
  })

  test('[P-057] messages that were trimmed to the last one are noticed although none comes', async () => {
    const streams = store.open()
    const tip = await streams.tip(STREAM)
    await publish(streams, numbers(1, 3))
    await store.trim(STREAM, 3)
    const reader = recorder()
    await streams.subscribe(STREAM, tip, reader)
    await vi.waitFor(() => expect(reader.gaps).toHaveLength(1), 5_000)
    await publish(streams, ['m4'])
    await vi.waitFor(() => expect(reader.seen).toEqual(['m4']), 5_000)
    expect(reader.gaps).toHaveLength(1)
  })

  test('[P-057] what was seen and then trimmed is no gap', async () => {
    const streams = store.open()
    const reader = recorder()
    await streams.subscribe(STREAM, await streams.tip(STREAM), reader)
    await publish(streams, numbers(1, 3))
    await vi.waitFor(() => expect(reader.seen).toHaveLength(3), 5_000)
    await store.trim(STREAM, 3)
    await publish(streams, ['m4'])
    await vi.waitFor(() => expect(reader.seen).toHaveLength(4), 5_000)
    expect(reader.gaps).toEqual([])
  })

  test('[P-057] [P-114] a flush under load: the subscriber is told and receives everything that is written after', async () => {
    const streams = store.open()
    const reader = recorder()
    await streams.subscribe(STREAM, await streams.tip(STREAM), reader)
    await publish(streams, numbers(1, 20))
    await vi.waitFor(() => expect(reader.seen).toHaveLength(20), 5_000)
    await store.flush()
    await publish(streams, numbers(21, 40)) // as many as before: numbers alone would not tell
    await vi.waitFor(() => expect(reader.seen.slice(-20)).toEqual(numbers(21, 40)), 5_000)
    expect(reader.gaps.length).toBeGreaterThan(0)
  })

  test('[P-057] a flush is noticed although nothing is written after it', async () => {
    const streams = store.open()
    const reader = recorder()
    await publish(streams, ['m1'])
    await streams.subscribe(STREAM, await streams.tip(STREAM), reader)
    await store.flush()
    await vi.waitFor(() => expect(reader.gaps.length).toBeGreaterThan(0), 5_000)
  })

  test('[P-057] nothing is delivered until a gap is made good', async () => {
    const streams = store.open()
    const tip = await streams.tip(STREAM)
    await publish(streams, numbers(1, 3))
    await store.trim(STREAM, 1)
    const events: string[] = []
    let tries = 0
    await streams.subscribe(STREAM, tip, {
      onMessage: ({ payload }) => {
        events.push(payload)
      },
      onGap: () => {
        tries += 1
        if (tries < 3) throw new Error('the snapshot cannot be loaded now')
        events.push('gap')
      },
    })
    await vi.waitFor(() => expect(events).toEqual(['gap', 'm2', 'm3']), 5_000)
  })

  test('heartbeats of several processes prove life, take no place among the messages and do not pile up', async () => {
    const [one, two] = [store.open(), store.open()]
    const reader = recorder()
    await one.subscribe(STREAM, await one.tip(STREAM), reader)
    const beats = [one.heartbeat(STREAM), two.heartbeat(STREAM)]
    await vi.waitFor(() => expect(reader.alive()).toBeGreaterThanOrEqual(3), { timeout: 8_000 })
    await publish(two, numbers(1, 3))
    await vi.waitFor(() => expect(reader.seen).toEqual(numbers(1, 3)), 5_000)
    for (const beat of beats) await beat.stop()
    expect(reader.gaps).toEqual([])
    const late = recorder()
    await one.subscribe(STREAM, '', late)
    await vi.waitFor(() => expect(late.seen).toEqual(numbers(1, 3)), 5_000)
    expect(late.gaps).toEqual([])
  })

  test('[P-112] a message that is not authentic is skipped and makes the subscriber load anew', async () => {
    const streams = store.open()
    const tip = await streams.tip(STREAM)
    await publish(streams, numbers(1, 2))
    await store.tamper(STREAM)
    await publish(streams, ['m3'])
    const reader = recorder()
    await streams.subscribe(STREAM, tip, reader)
    await vi.waitFor(() => expect(reader.seen).toEqual(['m3']), 5_000)
    expect(reader.gaps.length).toBeGreaterThan(0)
  })

  test('[P-112] during a rotation both keys are read; after it the old one is not', async () => {
    const before = store.open()
    const tip = await before.tip(STREAM)
    await publish(before, ['old'])
    const fresh = randomBytes(32)
    const during = store.open({ keys: keyRing(fresh, KEYS.current.bytes) })
    await publish(during, ['new'])
    const both = recorder()
    await during.subscribe(STREAM, tip, both)
    await vi.waitFor(() => expect(both.seen).toEqual(['old', 'new']), 5_000)
    const after = recorder()
    await store.open({ keys: keyRing(fresh) }).subscribe(STREAM, tip, after)
    await vi.waitFor(() => expect(after.seen).toEqual(['new']), 5_000)
  })

  test('[P-114] [P-175] when every connection is cut, subscribers go on within a second and miss nothing', async () => {
    if (!store.cut) return // embedded: there is no connection
    const [writer, other] = [store.open(), store.open()]
    const reader = recorder()
    await other.subscribe(STREAM, await writer.tip(STREAM), reader)
    await publish(writer, numbers(1, 3))
    await vi.waitFor(() => expect(reader.seen).toHaveLength(3), 5_000)
    await store.cut()
    await vi.waitFor(() => publish(writer, ['m4']), { timeout: 10_000, interval: 20 })
    await vi.waitFor(() => expect(reader.seen).toEqual(numbers(1, 4)), 2_000)
    expect(reader.gaps).toEqual([])
  })

  test('a stopped subscription delivers nothing more', async () => {
    const streams = store.open()
    const reader = recorder()
    const subscription = await streams.subscribe(STREAM, await streams.tip(STREAM), reader)
    await publish(streams, ['m1'])
    await vi.waitFor(() => expect(reader.seen).toEqual(['m1']), 5_000)
    await subscription.stop()
    await publish(streams, ['m2'])
    const other = recorder()
    await streams.subscribe(STREAM, '', other)
    await vi.waitFor(() => expect(other.seen).toEqual(['m1', 'm2']), 5_000)
    expect(reader.seen).toEqual(['m1'])
  })
})
