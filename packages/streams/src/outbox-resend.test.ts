import { randomBytes } from 'node:crypto'
import { keyRing } from '@caracal/core'
import { freshDatabaseUrl, startRedis } from '@caracal/harness'
import { confirmMessages, type Database, enqueue, migrateUp, openDatabase } from '@caracal/postgres'
import { Redis } from 'ioredis'
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { SILENT } from './conformance/drivers.ts'
import { openStreams } from './open-streams.ts'
import { startOutboxDispatcher } from './outbox-dispatcher.ts'
import type { Streams } from './streams.ts'

const STREAM = 'caracal.audit.events'
const WAIT = { timeout: 10_000, interval: 20 }
const PAYLOADS = Array.from({ length: 50 }, (_, at) => `event ${at}`)

const server = await startRedis()
const redis = new Redis(server.url)
let database: Database
let streams: Streams

beforeAll(async () => {
  database = await openDatabase({ url: await freshDatabaseUrl() })
  await migrateUp(database)
  streams = openStreams({ driver: 'redis', url: server.url, keys: keyRing(randomBytes(32)), logger: SILENT })
})
afterAll(async () => {
  await streams.close()
  await database.close()
  redis.disconnect()
  await server.stop()
})

const inStream = async () => (await redis.xrange(STREAM, '-', '+')).map(([, fields]) => fields[3] ?? '')
const unconfirmed = async () => (await database.query.selectFrom('outbox_unconfirmed').select('payload').execute()).length

test('[P-099] evidence that left the outbox and that Redis lost is sent again until the ledger confirms it; while it is on its way nothing is sent twice', async () => {
  const start = () =>
    startOutboxDispatcher({ database, streams, logger: SILENT, producer: 'test', timing: { resendMs: 1_000, lookMs: 100 } })
  const dispatchers = [start(), start()]
  await database.transaction((tx) =>
    enqueue(
      tx,
      PAYLOADS.map((payload) => ({ stream: STREAM, aggregate: 'zone', payload })),
    ),
  )
  await vi.waitFor(async () => expect(await inStream()).toEqual(PAYLOADS), WAIT)
  await vi.waitFor(async () => expect(await unconfirmed()).toBe(50), WAIT)
  await vi.waitFor(async () => expect((await sql`SELECT FROM outbox`.execute(database.query)).rows).toEqual([]), WAIT)

  // The ledger is only slow.
  await new Promise((resolve) => setTimeout(resolve, 2_500))
  expect(await inStream()).toEqual(PAYLOADS)

  await confirmMessages(database.query, PAYLOADS.slice(0, 20))
  await redis.flushall()
  await vi.waitFor(async () => expect((await inStream()).toSorted()).toEqual(PAYLOADS.slice(20).toSorted()), WAIT)
  await confirmMessages(database.query, PAYLOADS)
  expect(await unconfirmed()).toBe(0)
  await redis.flushall()
  await new Promise((resolve) => setTimeout(resolve, 2_500))
  expect(await inStream()).toEqual([])
  await Promise.all(dispatchers.map((dispatcher) => dispatcher.stop()))
})

test('[P-099] what is confirmed the moment it is in the stream is not kept for a second time', async () => {
  await redis.flushall()
  const consumer = await streams.consume(STREAM, {
    group: 'prompt',
    consumer: 'c',
    batch: 50,
    handle: async (messages) => {
      await confirmMessages(
        database.query,
        messages.map(({ payload }) => payload),
      )
      return messages.map(() => 'done' as const)
    },
  })
  const dispatcher = startOutboxDispatcher({ database, streams, logger: SILENT, producer: 'test' })
  for (let at = 0; at < 20; at += 1) await enqueue(database.query, { stream: STREAM, aggregate: 'zone', payload: `prompt ${at}` })
  await vi.waitFor(async () => expect((await sql`SELECT FROM outbox`.execute(database.query)).rows).toEqual([]), WAIT)
  await vi.waitFor(async () => expect(await unconfirmed()).toBe(0), WAIT)
  await dispatcher.stop()
  await consumer.stop()
})
