import { randomBytes } from 'node:crypto'
import { keyRing, type StreamName } from '@caracal/core'
import { freshDatabaseUrl, startRedis } from '@caracal/harness'
import { type Database, enqueue, migrateUp, openDatabase } from '@caracal/postgres'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { recorder, SILENT } from './conformance/drivers.ts'
import { openStreams } from './open-streams.ts'
import { type OutboxDispatcher, startOutboxDispatcher } from './outbox-dispatcher.ts'
import type { Streams } from './streams.ts'

const KEYS = keyRing(randomBytes(32))
let database: Database
let server = await startRedis()
const running: OutboxDispatcher[] = []
const opened: Streams[] = []

beforeAll(async () => {
  database = await openDatabase({ url: await freshDatabaseUrl() })
  await migrateUp(database)
})
beforeEach(async () => {
  await sql`TRUNCATE outbox`.execute(database.query)
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((dispatcher) => dispatcher.stop()))
  await Promise.all(opened.splice(0).map((streams) => streams.close()))
})
afterAll(async () => {
  await database.close()
  await server.stop()
})

function open(): Streams {
  const streams = openStreams({ driver: 'redis', url: server.url, keys: KEYS, logger: SILENT })
  opened.push(streams)
  return streams
}

function dispatch(streams: Streams, timing: Parameters<typeof startOutboxDispatcher>[0]['timing'] = {}): OutboxDispatcher {
  const dispatcher = startOutboxDispatcher({ database, streams, logger: SILENT, producer: 'test', timing })
  running.push(dispatcher)
  return dispatcher
}

function write(stream: StreamName, aggregate: string, payloads: readonly string[]): Promise<void> {
  return database.transaction((tx) =>
    enqueue(
      tx,
      payloads.map((payload) => ({ stream, aggregate, payload })),
    ),
  )
}

async function recorded(): Promise<ReturnType<typeof recorder>> {
  const streams = open()
  const reader = recorder()
  await streams.subscribe('caracal.config', await streams.tip('caracal.config'), reader)
  return reader
}

const numbered = (name: string, from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => `${name}${from + at}`)
const firsts = (seen: readonly string[], name: string) => [...new Set(seen.filter((payload) => payload.startsWith(name)))]

test('[P-116] what is committed is published within moments, in order per aggregate, and leaves the outbox', async () => {
  const reader = await recorded()
  const dispatcher = dispatch(open(), { lookMs: 60_000 }) // only the notification wakes it
  await vi.waitFor(async () => expect(await dispatcher.health()).toMatchObject({ pending: 0 }), 5_000)
  await new Promise((resolve) => setTimeout(resolve, 200))
  const before = performance.now()
  await write('caracal.config', 'a', numbered('a', 1, 20))
  await write('caracal.config', 'b', numbered('b', 1, 20))
  await vi.waitFor(() => expect(reader.seen).toHaveLength(40), { timeout: 10_000, interval: 5 })
  expect(performance.now() - before).toBeLessThan(10_000)
  expect(firsts(reader.seen, 'a')).toEqual(numbered('a', 1, 20))
  expect(firsts(reader.seen, 'b')).toEqual(numbered('b', 1, 20))
  await vi.waitFor(async () => expect(await dispatcher.health()).toEqual({ pending: 0, oldestSeconds: 0, dead: 0 }), 5_000)
})

test('[P-116] what is rolled back is never published', async () => {
  const reader = await recorded()
  dispatch(open())
  await database
    .transaction(async (tx) => {
      await enqueue(tx, { stream: 'caracal.config', aggregate: 'a', payload: 'never' })
      throw new Error('no')
    })
    .catch(() => {})
  await write('caracal.config', 'a', ['a1'])
  await vi.waitFor(() => expect(reader.seen).toEqual(['a1']), 5_000)
})

test('[P-116] several dispatchers publish everything, in order per aggregate', async () => {
  const reader = await recorded()
  for (let at = 0; at < 3; at += 1) dispatch(open())
  const names = ['a', 'b', 'c', 'd', 'e']
  await Promise.all(
    names.map(async (name) => {
      for (let at = 0; at < 20; at += 1) await write('caracal.config', name, numbered(name, at * 5 + 1, at * 5 + 5))
    }),
  )
  await vi.waitFor(() => expect(reader.seen.length).toBeGreaterThanOrEqual(500), { timeout: 10_000 })
  for (const name of names) expect(reader.seen.filter((payload) => payload.startsWith(name))).toEqual(numbered(name, 1, 100))
})

test('[P-116] what a killed dispatcher had claimed is published once its lease is over, still in order', async () => {
  const reader = await recorded()
  await write('caracal.config', 'a', numbered('a', 1, 3))
  await sql`UPDATE outbox SET available_at = now() + interval '700 milliseconds'`.execute(database.query)
  dispatch(open())
  await write('caracal.config', 'a', ['a4'])
  await write('caracal.config', 'b', ['b1'])
  await vi.waitFor(() => expect(reader.seen).toEqual(['b1']), 600)
  await vi.waitFor(() => expect(reader.seen).toEqual(['b1', 'a1', 'a2', 'a3', 'a4']), { timeout: 5_000 })
})

test('[P-116] Redis goes away in the middle: nothing dies, nothing is lost, order holds, and it goes on by itself', async () => {
  const streams = open()
  const dispatcher = dispatch(streams)
  const seen: string[] = []
  for (let at = 0; at < 5; at += 1) await write('caracal.config', 'a', numbered('a', at * 10 + 1, at * 10 + 10))
  await server.stop()
  for (let at = 5; at < 10; at += 1) await write('caracal.config', 'a', numbered('a', at * 10 + 1, at * 10 + 10))
  await new Promise((resolve) => setTimeout(resolve, 1_500))
  const waiting = await dispatcher.health()
  expect(waiting.dead).toBe(0)
  expect(waiting.pending).toBeGreaterThanOrEqual(50)
  expect(waiting.oldestSeconds).toBeGreaterThan(0.5)
  server = await startRedis({ port: server.port })
  const reader = open()
  await reader.subscribe('caracal.config', '', { onMessage: ({ payload }) => void seen.push(payload), onGap: () => {} })
  await vi.waitFor(async () => expect((await dispatcher.health()).pending).toBe(0), { timeout: 10_000 })
  await vi.waitFor(() => expect(firsts(seen, 'a').slice(-50)).toEqual(numbered('a', 51, 100)), { timeout: 10_000 })
})

test('[P-116] evidence goes to the work stream with its zone as partition', async () => {
  const streams = open()
  dispatch(streams)
  await write('caracal.audit.events', 'zone1', numbered('e', 1, 30))
  const seen: string[] = []
  await streams.consume('caracal.audit.events', {
    group: 'audit',
    consumer: 'c',
    batch: 10,
    handle: async (messages) => {
      for (const { partition, payload } of messages) seen.push(`${partition} ${payload}`)
      return messages.map(() => 'done')
    },
  })
  await vi.waitFor(() => expect(seen).toEqual(numbered('zone1 e', 1, 30)), 5_000)
})

test('[P-116] only what can never be published is dead, and it holds nothing back', async () => {
  const reader = await recorded()
  const dispatcher = dispatch(open())
  await sql`INSERT INTO outbox (stream, aggregate, payload) VALUES ('caracal.nothing', 'a', 'x'), ('caracal.config', 'a', '')`.execute(
    database.query,
  )
  await write('caracal.config', 'a', ['a1'])
  await vi.waitFor(() => expect(reader.seen).toEqual(['a1']), 5_000)
  expect(await dispatcher.health()).toMatchObject({ pending: 0, dead: 2 })
})
