import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { keyRing, newId } from '@caracal/core'
import { type PostgresServer, redisUrl, startPostgres } from '@caracal/harness'
import { type Database, migrateUp, openDatabase } from '@caracal/postgres'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { SILENT } from '../conformance/drivers.ts'
import { verifyEvidence } from '../evidence/evidence-payload.ts'
import type { SpoolEvidenceWriter } from '../evidence/spool-evidence-writer.ts'
import { AlreadyClaimed, type EventDraft, EvidenceUnavailable } from '../evidence-writer.ts'
import { openStreams } from '../open-streams.ts'
import type { Streams } from '../streams.ts'
import { openWriteThrough, type WriteThroughOptions } from './write-through-evidence-writer.ts'

const KEY = randomBytes(32)
const KEYS = keyRing(KEY)
const draft: EventDraft = { zone: newId('zone'), type: 'call.allowed', decision: 'allow' }

let server: PostgresServer
let database: Database
let streams: Streams
let writer: SpoolEvidenceWriter
beforeAll(async () => {
  server = await startPostgres({ durable: true })
  database = await openDatabase({ url: server.url, connectWithin: 500 })
  await migrateUp(database)
})
beforeEach(async () => {
  await sql`TRUNCATE stream_work`.execute(database.query)
  streams = openStreams({ driver: 'postgres', database, keys: KEYS, logger: SILENT })
  writer = open()
})
afterEach(async () => {
  await writer.close(0)
  await streams.close()
})
afterAll(async () => {
  await database.close()
  await server.stop()
})

function open(options: Partial<WriteThroughOptions> = {}): SpoolEvidenceWriter {
  return openWriteThrough({ service: 'gateway', keys: KEYS, streams, logger: SILENT, patienceMs: 500, ...options })
}

async function ids(): Promise<readonly string[]> {
  const { rows } = await sql<{ payload: string }>`SELECT payload FROM stream_work ORDER BY id`.execute(database.query)
  return rows.flatMap(({ payload }) => {
    const found = verifyEvidence(payload, KEYS)
    return found.ok ? found.value.flatMap(({ events }) => events.map((event) => JSON.parse(event).id as string)) : [found.problem]
  })
}

/** Records again and again until it works. */
async function untilRecorded(): Promise<string> {
  for (;;) {
    const id = await writer.record(draft).catch(() => undefined)
    if (id !== undefined) return id
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

test.each([
  ['is gone', () => server.end('SIGKILL'), () => server.start()],
  ['hangs', () => server.signal('SIGSTOP'), () => server.signal('SIGCONT')],
] as const)(
  '[P-094] Postgres %s: what an effect waits for is refused, what has happened is kept and arrives when it is back',
  async (_, away, back) => {
    const before = await writer.record(draft)
    await away()
    await expect(writer.record(draft)).rejects.toThrow(EvidenceUnavailable)
    // Known to be away: nobody waits for what cannot come.
    expect(writer.writable()).toBe(false)
    const happened = writer.record(draft, 'soon')
    expect(writer.health()).toMatchObject({ records: 1, unsent: 1 })
    await back()
    const after = await untilRecorded()
    const kept = await happened
    expect(writer.writable()).toBe(true)
    const found = await ids()
    expect(found).toEqual(expect.arrayContaining([before, kept, after]))
    expect(found.filter((id) => id === kept)).toHaveLength(1)
    expect(writer.health()).toMatchObject({ records: 0, unsent: 0 })
  },
  60_000,
)

test('what nobody waits for is kept up to a bound, and refused past it', async () => {
  await writer.close(0)
  writer = open({ maxKept: 2_000 })
  await server.end('SIGKILL')
  const recorded = Array.from({ length: 30 }, () => writer.record(draft, 'soon'))
  const refused = recorded.map((one) => one.catch((error: Error) => error))
  expect(writer.health().usedRatio).toBeGreaterThan(0.5)
  await server.start()
  const outcomes = await Promise.all(refused)
  const kept = outcomes.filter((one) => typeof one === 'string')
  expect(kept.length).toBeGreaterThan(2)
  expect(kept.length).toBeLessThan(30)
  expect(await ids()).toEqual(kept)
  for (const one of outcomes) expect(typeof one === 'string' || one instanceof EvidenceUnavailable).toBe(true)
})

test('closing while Postgres is away says how much is lost', async () => {
  await server.end('SIGKILL')
  const lost = [writer.record(draft, 'soon'), writer.record(draft, 'soon')].map((one) => one.catch((error: Error) => error))
  expect(await writer.close(200)).toBe(2)
  for (const one of await Promise.all(lost)) expect(one).toBeInstanceOf(EvidenceUnavailable)
  await server.start()
})

test('[P-094] a process that is killed leaves every event that it said was durable', async () => {
  const program = join(import.meta.dirname, '../test-support/record-until-killed.ts')
  const child = spawn(process.execPath, [program, server.url, KEY.toString('hex')], { stdio: ['ignore', 'pipe', 'inherit'] })
  const said: string[] = []
  child.stdout.on('data', (chunk) => said.push(String(chunk)))
  while (said.join('').split('\n').length < 500) await once(child.stdout, 'data')
  child.kill('SIGKILL')
  await once(child, 'close')
  const whole = said.join('').split('\n').slice(0, -1)
  const found = new Set(await ids())
  expect(whole.filter((id) => !found.has(id))).toEqual([])
})

test('streams that are not on Postgres carry no evidence that is written through: an acknowledgement of Redis is no commit', async () => {
  const redis = openStreams({ driver: 'redis', url: redisUrl(), keys: KEYS, logger: SILENT })
  expect(() => open({ streams: redis })).toThrow(TypeError)
  await redis.close()
})

/** What became of an event that claims: its id, or the name of what it was refused with. */
function claiming(by: SpoolEvidenceWriter, key: string, owner: string, ttl = 60): Promise<string> {
  return by.recordClaiming?.(draft, { key, owner, ttl }).catch((error: Error) => error.name) ?? Promise.resolve('cannot')
}

test('[P-017] who claims with the event and is late is refused, nothing of it is recorded, and nobody else of its commit is held back', async () => {
  const others = openStreams({ driver: 'postgres', database, keys: KEYS, logger: SILENT })
  const elsewhere = open({ streams: others })
  const first = await claiming(writer, 'one', 'a')
  const [late, free, plain, again] = await Promise.all([
    claiming(elsewhere, 'one', 'b'),
    claiming(elsewhere, 'two', 'b'),
    elsewhere.record(draft),
    claiming(writer, 'one', 'a'),
  ])
  expect(late).toBe(AlreadyClaimed.name)
  expect([...(await ids())].sort()).toEqual([first, free, plain, again].sort())
  expect(elsewhere.health()).toMatchObject({ records: 0, usedRatio: 0, writeErrors: 0 })
  await elsewhere.close(0)
  await others.close()
})

test('[P-017] of several that want one key at once one has it, in one process and in two; a key that ran out or was given back is free', async () => {
  const others = openStreams({ driver: 'postgres', database, keys: KEYS, logger: SILENT })
  const elsewhere = open({ streams: others })
  for (let round = 0; round < 20; round += 1) {
    const wanted = [writer, writer, elsewhere, elsewhere].map((one, at) => claiming(one, `race-${round}`, `owner-${at}`))
    expect((await Promise.all(wanted)).filter((one) => one !== AlreadyClaimed.name)).toHaveLength(1)
  }
  expect(await ids()).toHaveLength(20)
  await claiming(writer, 'short', 'a', 0.001)
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(await claiming(elsewhere, 'short', 'b')).not.toBe(AlreadyClaimed.name)
  await streams.release('short', 'b')
  expect(await claiming(writer, 'short', 'c')).not.toBe(AlreadyClaimed.name)
  expect(await streams.claim('short', 'd', 60)).toBe(false)
  await elsewhere.close(0)
  await others.close()
})

test('[P-100] more events than one group holds are one commit with what they claim, all of it or nothing', async () => {
  await claiming(writer, 'taken', 'a')
  const many = Array.from({ length: 600 }, (_, at) => claiming(writer, at === 300 ? 'taken' : `many-${at}`, `owner-${at}`))
  const outcomes = await Promise.all(many)
  expect(outcomes.filter((one) => one === AlreadyClaimed.name)).toHaveLength(1)
  expect(await ids()).toHaveLength(600)
})

test('messages of evidence are compressed in the way that costs little', async () => {
  const { rows } = await sql<{ how: string }>`
    SELECT attcompression::text AS how FROM pg_attribute WHERE attrelid = 'stream_work'::regclass AND attname = 'payload'`.execute(
    database.query,
  )
  expect(rows).toEqual([{ how: 'l' }])
})
