import { startRedis } from '@caracal/harness'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeEach, expect, test, vi } from 'vitest'
import { KEYS, recorder, SILENT } from './conformance/drivers.ts'
import { openStreams } from './open-streams.ts'
import { StoreUnavailable } from './store-unavailable.ts'
import type { Streams } from './streams.ts'

let server = await startRedis()
const opened: Streams[] = []
let redis: Redis
beforeEach(() => {
  redis = new Redis(server.url)
  redis.on('error', () => {})
})
afterEach(async () => {
  await Promise.all(opened.splice(0).map((streams) => streams.close()))
  await redis.flushall()
  redis.disconnect()
})
afterAll(() => server.stop())

function open(more: { requireNoEviction?: boolean } = {}): Streams {
  const streams = openStreams({ driver: 'redis', url: server.url, keys: KEYS, logger: SILENT, timing: { reclaimMs: 500 }, ...more })
  opened.push(streams)
  return streams
}

const timed = async (call: () => Promise<unknown>) => {
  const before = performance.now()
  await call()
  return performance.now() - before
}

test('[P-114] [P-175] Redis dies and comes back empty: calls fail at once, then subscribers, consumers and claims go on by themselves', async () => {
  const streams = open()
  const reader = recorder()
  const seen: string[] = []
  await streams.subscribe('caracal.revocations', await streams.tip('caracal.revocations'), reader)
  await streams.consume('caracal.audit.events', {
    group: 'audit',
    consumer: 'c',
    batch: 10,
    handle: async (messages) => {
      for (const { payload } of messages) seen.push(payload)
      return messages.map(() => 'done')
    },
  })
  const beat = streams.heartbeat('caracal.revocations')
  await streams.publish('caracal.revocations', 'm1')
  await streams.append('caracal.audit.events', [{ partition: 'z', payload: 'e1' }])
  await vi.waitFor(() => expect([reader.seen, seen]).toEqual([['m1'], ['e1']]), 5_000)

  await server.stop()
  const failing = [
    () => streams.publish('caracal.revocations', 'never'),
    () => streams.append('caracal.audit.events', [{ partition: 'z', payload: 'never' }]),
    () => streams.claim('k', 'me', 10),
    () => streams.ping(),
    () => streams.health('caracal.audit.events'),
  ]
  for (const call of failing) expect(await timed(() => expect(call()).rejects.toThrow(StoreUnavailable))).toBeLessThan(10_000)

  server = await startRedis({ port: server.port })
  expect(await timed(() => vi.waitFor(() => streams.ping(), { timeout: 10_000, interval: 10 }))).toBeLessThan(5_000)
  const alive = reader.alive()
  await vi.waitFor(() => expect(reader.gaps.length).toBeGreaterThan(0), 5_000)
  await streams.publish('caracal.revocations', 'm2')
  await streams.append('caracal.audit.events', [{ partition: 'z', payload: 'e2' }])
  await vi.waitFor(
    () =>
      expect([reader.seen, seen]).toEqual([
        ['m1', 'm2'],
        ['e1', 'e2'],
      ]),
    5_000,
  )
  await vi.waitFor(() => expect(reader.alive()).toBeGreaterThan(alive), 5_000)
  expect(await streams.claim('k', 'me', 10)).toBe(true)
  await beat.stop()
})

test('[P-174] a Redis at its memory limit refuses with its own reason, and goes on once there is room', async () => {
  const streams = open()
  await streams.publish('caracal.config', 'm1')
  await redis.config('SET', 'maxmemory', '1')
  await expect(streams.publish('caracal.config', 'm2')).rejects.toThrow(StoreUnavailable)
  await expect(streams.append('caracal.audit.events', [{ partition: 'z', payload: 'e1' }])).rejects.toThrow(StoreUnavailable)
  await redis.config('SET', 'maxmemory', '0')
  await streams.publish('caracal.config', 'm3')
  const reader = recorder()
  await streams.subscribe('caracal.config', '', reader)
  await vi.waitFor(() => expect(reader.seen).toEqual(['m1', 'm3']), 5_000)
  expect(reader.gaps).toEqual([])
})

test('[P-115] a Redis that may evict keys is refused where that is asked for', async () => {
  await open({ requireNoEviction: true }).ping()
  await redis.config('SET', 'maxmemory-policy', 'allkeys-lru')
  await expect(open({ requireNoEviction: true }).ping()).rejects.toThrow(StoreUnavailable)
  await open().ping()
  await redis.config('SET', 'maxmemory-policy', 'noeviction')
})

test('[P-114] a destroyed group is made again, from the first entry on', async () => {
  const streams = open()
  const seen = new Set<string>()
  await streams.consume('caracal.audit.events', {
    group: 'audit',
    consumer: 'c',
    batch: 10,
    handle: async (messages) => {
      for (const { payload } of messages) seen.add(payload)
      return messages.map(() => 'done')
    },
  })
  for (let at = 0; at < 10; at += 1) {
    await streams.append('caracal.audit.events', [{ partition: 'z', payload: `e${at}` }])
    if (at % 4 === 1) await redis.xgroup('DESTROY', 'caracal.audit.events', 'audit').catch(() => {})
  }
  await vi.waitFor(() => expect(seen.size).toBe(10), 5_000)
})

test('[P-115] [P-173] messages go by age and never by number; heartbeats take the place of the one before', async () => {
  const streams = open()
  for (let at = 0; at < 300; at += 1) await streams.publish('caracal.revocations', `m${at}`)
  const beat = streams.heartbeat('caracal.revocations')
  await new Promise((resolve) => setTimeout(resolve, 2_300))
  await beat.stop()
  expect(await redis.xlen('caracal.revocations')).toBe(301)

  // Written an hour ago: the next message takes them away, a node at a time.
  const old = Date.now() - 3_600_000
  for (let at = 0; at < 300; at += 1) await redis.xadd('caracal.config', `${old}-${at + 1}`, 'p', 'x'.repeat(100))
  await streams.publish('caracal.config', 'now')
  expect(await redis.xlen('caracal.config')).toBeLessThan(102)
})

test('[P-173] what runs through a work stream and is acknowledged leaves nothing in the memory of Redis', async () => {
  const streams = open()
  let handled = 0
  await streams.consume('caracal.audit.events', {
    group: 'audit',
    consumer: 'c',
    batch: 500,
    handle: async (messages) => {
      handled += messages.length
      return messages.map(() => 'done')
    },
  })
  const payload = 'x'.repeat(20_000)
  const round = async (upTo: number) => {
    while (handled < upTo) {
      await streams.append(
        'caracal.audit.events',
        Array.from({ length: 50 }, () => ({ partition: 'z', payload })),
      )
      await vi.waitFor(() => expect(handled % 50).toBe(0), 5_000)
    }
    await vi.waitFor(async () => expect(await redis.xlen('caracal.audit.events')).toBe(0), { timeout: 10_000 })
    return Number(/used_memory_dataset:(\d+)/.exec(await redis.info('memory'))?.[1])
  }
  const early = await round(500)
  const late = await round(5_000) // 90 MB more have run through
  expect(late - early).toBeLessThan(5_000_000)
})

test('[P-057] a stream that is set back by a failover is noticed although its numbers fit', async () => {
  const streams = open()
  const reader = recorder()
  const tip = await streams.tip('caracal.config')
  await streams.subscribe('caracal.config', tip, reader)
  await streams.publish('caracal.config', 'm1')
  const head = await redis.hgetall('{caracal.config}:head')
  const bytes = await redis.dumpBuffer('caracal.config')
  await streams.publish('caracal.config', 'm2')
  await vi.waitFor(() => expect(reader.seen).toEqual(['m1', 'm2']), 5_000)
  // The replica that takes over had not received m2.
  await redis.restore('caracal.config', 0, bytes ?? '', 'REPLACE')
  await redis.hset('{caracal.config}:head', head)
  await vi.waitFor(() => expect(reader.gaps).toHaveLength(1), 5_000)
  await streams.publish('caracal.config', 'm2 again')
  await vi.waitFor(() => expect(reader.seen).toEqual(['m1', 'm2', 'm2 again']), 5_000)
})

test('[P-174] [P-115] Redis at `maxmemory` and Redis as a replica: what is refused says why, what only reads goes on, and so does everything afterwards', async () => {
  const streams = open()
  const reader = recorder()
  await streams.publish('caracal.revocations', 'm1')
  await streams.subscribe('caracal.revocations', '', reader)
  await streams.append('caracal.audit.events', [{ partition: 'z', payload: 'e1' }])
  expect(await streams.standing()).toMatchObject({ refuses: null, usedRatio: null })

  const reasonOf = (call: Promise<unknown>) =>
    call.then(
      () => 'done',
      (error: unknown) => (error as StoreUnavailable).reason,
    )
  const refusals = async () => [
    await reasonOf(streams.claim('k', 'me', 10)),
    await reasonOf(streams.publish('caracal.revocations', 'm2')),
    await reasonOf(streams.append('caracal.audit.events', [{ partition: 'z', payload: 'e2' }])),
  ]
  await redis.config('SET', 'maxmemory', '1mb')
  expect(await refusals()).toEqual(['store_full', 'store_full', 'store_full'])
  const full = await streams.standing()
  expect(full.refuses).toBe('store_full')
  expect(full.usedRatio).toBeGreaterThan(0.75)
  // Taking work and acknowledging it is how a full Redis becomes empty again.
  const taken: string[] = []
  await streams
    .consume('caracal.audit.events', {
      group: 'audit',
      consumer: 'c',
      batch: 10,
      handle: async (messages) => {
        for (const { payload } of messages) taken.push(payload)
        return messages.map(() => 'done')
      },
    })
    .catch(() => undefined)
  expect(await streams.tip('caracal.revocations')).not.toBe('')

  await redis.config('SET', 'maxmemory', '0')
  expect(await refusals()).toEqual(['done', 'done', 'done'])
  await vi.waitFor(() => expect(reader.seen).toEqual(['m1', 'm2']), 5_000)
  await vi.waitFor(() => expect(taken).toEqual(['e1', 'e2']), 5_000)
  expect(reader.gaps).toEqual([])

  const primary = await startRedis()
  await redis.replicaof('127.0.0.1', primary.port)
  await vi.waitFor(async () => expect((await streams.standing()).refuses).toBe('store_read_only'), 10_000)
  await redis.replicaof('NO', 'ONE')
  await vi.waitFor(async () => expect((await streams.standing()).refuses).toBe(null), 10_000)
  await primary.stop()
})
