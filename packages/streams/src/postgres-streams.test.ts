import { freshDatabaseUrl } from '@caracal/harness'
import { type Database, migrateUp, openDatabase } from '@caracal/postgres'
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { KEYS, recorder, SILENT } from './conformance/drivers.ts'
import { openStreams } from './open-streams.ts'
import { removeOutdated } from './postgres-upkeep.ts'
import type { Streams } from './streams.ts'

let server: Database
let embedded: Database
let streams: Streams
beforeAll(async () => {
  server = await openDatabase({ url: await freshDatabaseUrl() })
  embedded = await openDatabase({ memory: true })
  await Promise.all([migrateUp(server), migrateUp(embedded)])
  streams = openStreams({ driver: 'postgres', database: server, keys: KEYS, logger: SILENT })
})
afterAll(async () => {
  await streams.close()
  await Promise.all([server.close(), embedded.close()])
})

test('[P-057] a message whose transaction commits late is not passed over: whoever comes after waits for it', async () => {
  const reader = recorder()
  await streams.subscribe('caracal.config', await streams.tip('caracal.config'), reader)
  const { promise: held, resolve: release } = Promise.withResolvers<void>()
  const { promise: numbered, resolve: hasNumber } = Promise.withResolvers<void>()
  const late = server.transaction(async (tx) => {
    await sql`UPDATE stream_heads SET seq = seq + 1 WHERE stream = 'caracal.config'`.execute(tx)
    hasNumber()
    await held
    throw new Error('rolled back: its number is given again')
  })
  await numbered
  const next = streams.publish('caracal.config', 'm1')
  await new Promise((resolve) => setTimeout(resolve, 200))
  expect(reader.seen).toEqual([])
  release()
  await expect(late).rejects.toThrow('rolled back')
  await next
  await vi.waitFor(() => expect(reader.seen).toEqual(['m1']), 5_000)
  expect(reader.gaps).toEqual([])
})

test('[P-115] broadcast messages go by age, claims when they have run out', async () => {
  await streams.publish('caracal.policy', 'old')
  await sql`UPDATE stream_broadcasts SET created_at = now() - interval '31 minutes' WHERE stream = 'caracal.policy'`.execute(server.query)
  await streams.publish('caracal.policy', 'new')
  await streams.claim('gone', 'me', 0)
  await streams.claim('kept', 'me', 60)
  await removeOutdated(server)
  const left = await sql`SELECT payload FROM stream_broadcasts WHERE stream = 'caracal.policy'`.execute(server.query)
  expect(left.rows).toEqual([{ payload: 'new' }])
  const claims = await sql`SELECT key FROM stream_claims`.execute(server.query)
  expect(claims.rows).toEqual([{ key: 'kept' }])
})

test('an embedded Postgres can be vacuumed by those who use it', async () => {
  await sql`VACUUM stream_heads, stream_broadcasts, stream_work, stream_claims, outbox`.execute(embedded.query)
})

test('without notifications a stream is read each second', async () => {
  const deaf: Database = { ...server, listen: () => Promise.reject(new Error('a pooler in between')) }
  const other = openStreams({ driver: 'postgres', database: deaf, keys: KEYS, logger: SILENT })
  const reader = recorder()
  await other.subscribe('caracal.evidence', await other.tip('caracal.evidence'), reader)
  await new Promise((resolve) => setTimeout(resolve, 200))
  await streams.publish('caracal.evidence', 'm1')
  await vi.waitFor(() => expect(reader.seen).toEqual(['m1']), 3_000)
  await other.close()
})
