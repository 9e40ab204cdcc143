import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { canonicalJson, keyRing, newId } from '@caracal/core'
import { freshDatabaseUrl } from '@caracal/harness'
import { type Database, migrateUp, openDatabase } from '@caracal/postgres'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { MAX_GROUP_EVENTS, verifyEvidence } from '../evidence/evidence-payload.ts'
import type { SpoolEvidenceWriter } from '../evidence/spool-evidence-writer.ts'
import { type EventDraft, EvidenceUnavailable } from '../evidence-writer.ts'
import { openEvidence } from '../open-evidence.ts'
import { openStreams } from '../open-streams.ts'
import type { Streams } from '../streams.ts'
import { SILENT } from './drivers.ts'

const KEYS = keyRing(randomBytes(32))
const draft: EventDraft = { zone: newId('zone'), type: 'call.allowed', decision: 'allow', operation: { method: 'GET', path: '/a' } }

let database: Database
let streams: Streams
let dir = ''
const writers: SpoolEvidenceWriter[] = []
beforeAll(async () => {
  database = await openDatabase({ url: await freshDatabaseUrl() })
  await migrateUp(database)
})
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'caracal-evidence-'))
  await sql`TRUNCATE stream_work`.execute(database.query)
  streams = openStreams({ driver: 'postgres', database, keys: KEYS, logger: SILENT })
})
afterEach(async () => {
  await Promise.all(writers.splice(0).map((writer) => writer.close(0)))
  await streams.close()
  rmSync(dir, { recursive: true })
})
afterAll(() => database.close())

/** The texts of events as they stand in the work stream, oldest first. */
async function inStream(): Promise<readonly string[]> {
  const { rows } = await sql<{ payload: string }>`SELECT payload FROM stream_work ORDER BY id`.execute(database.query)
  return rows.flatMap(({ payload }) => {
    const found = verifyEvidence(payload, KEYS)
    if (!found.ok) throw new Error(found.problem)
    return found.value.flatMap(({ events }) => events)
  })
}

/** What is durable at this moment, wherever the writer keeps it. */
const DURABLE = {
  'write-ahead': async () =>
    readdirSync(dir)
      .map((name) => readFileSync(join(dir, name), 'utf8'))
      .join(''),
  'write-through': async () => (await inStream()).join(''),
} as const

describe.each(['write-ahead', 'write-through'] as const)('EVIDENCE=%s', (mode) => {
  async function open(): Promise<SpoolEvidenceWriter> {
    const writer = await openEvidence({ dir, service: 'gateway', keys: KEYS, streams, mode, logger: SILENT })
    writers.push(writer)
    return writer
  }

  test('[P-094] what `record` resolved for is durable', async () => {
    const writer = await open()
    for (let at = 0; at < 3; at += 1) {
      const id = await writer.record(draft)
      expect(await DURABLE[mode]()).toContain(id)
    }
  })

  test('every event arrives once, in order, as its canonical text and with the MAC of its producer, however many come at once', async () => {
    const writer = await open()
    const ids = await Promise.all(Array.from({ length: 3 * MAX_GROUP_EVENTS }, () => writer.record(draft)))
    await expect.poll(async () => (await inStream()).length).toBe(ids.length)
    const texts = await inStream()
    expect(texts.map((text) => JSON.parse(text).id)).toEqual(ids)
    expect(texts.map((text) => canonicalJson(JSON.parse(text)))).toEqual(texts)
    expect(JSON.parse(texts[0] ?? '')).toMatchObject({ ...draft, v: 1, service: 'gateway' })
  })

  test('one commit serves what came while the last one ran', async () => {
    const writer = await open()
    await writer.record(draft)
    await Promise.all(Array.from({ length: 200 }, () => writer.record(draft)))
    expect(writer.health()).toMatchObject({ made: 201 })
    expect(writer.health().commits).toBeLessThan(20)
  })

  test('what nobody waits for is durable by itself too', async () => {
    const writer = await open()
    const id = await writer.record(draft, 'soon')
    expect(await DURABLE[mode]()).toContain(id)
  })

  test('closed, it lets nothing in, and nothing that was let in is lost', async () => {
    const writer = await open()
    const recorded = Array.from({ length: 20 }, (_, at) => writer.record(draft, at % 2 === 0 ? 'now' : 'soon'))
    expect(await writer.close(5_000)).toBe(0)
    const ids = await Promise.all(recorded)
    const texts = await inStream()
    expect(texts.map((text) => JSON.parse(text).id).sort()).toEqual([...ids].sort())
    await expect(writer.record(draft)).rejects.toThrow(EvidenceUnavailable)
    expect(writer.writable()).toBe(false)
  })
})
