import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startRedis } from '@caracal/harness'
import { type Redis, Redis as RedisClient } from 'ioredis'
import { afterAll, afterEach, beforeEach, expect, test, vi } from 'vitest'
import { KEYS, SILENT } from '../conformance/drivers.ts'
import { evidencePayload, verifyEvidence } from '../evidence/evidence-payload.ts'
import { openStreams } from '../open-streams.ts'
import type { Streams } from '../streams.ts'
import { openSpool, type Spool, type SpoolOptions } from './open-spool.ts'

const STREAM = 'caracal.audit.events'
const root = mkdtempSync(join(tmpdir(), 'caracal-spool-'))
const server = await startRedis()
const redis: Redis = new RedisClient(server.url)
redis.on('error', () => {})
let dir = ''
let streams: Streams
const opened: Spool[] = []

beforeEach(async () => {
  dir = mkdtempSync(join(root, 'dir-'))
  await redis.flushall()
  streams = openStreams({ driver: 'redis', url: server.url, keys: KEYS, logger: SILENT, timing: { reclaimMs: 500 } })
})
afterEach(async () => {
  await Promise.all(opened.splice(0).map((spool) => spool.close(0)))
  await streams.close()
})
afterAll(async () => {
  redis.disconnect()
  await server.stop()
  rmSync(root, { recursive: true, force: true })
})

async function open(options: Partial<SpoolOptions> = {}): Promise<Spool> {
  const seal: SpoolOptions['seal'] = (group) => evidencePayload(KEYS, group)
  const spool = await openSpool({
    dir,
    role: 'gateway',
    streams,
    logger: SILENT,
    seal,
    open: (text) => verifyEvidence(text, KEYS),
    ...options,
  })
  opened.push(spool)
  return spool
}

function append(spool: Spool, count: number): Promise<number[]> {
  return Promise.all(Array.from({ length: count }, () => spool.append('record')))
}

function contents(payload: string): string[] {
  const verified = verifyEvidence(payload, KEYS)
  if (!verified.ok) return [verified.problem]
  return verified.value.flatMap(({ first, events }) => events.map((text, at) => `${text || 'lost'} ${(first ?? 0) + at}`))
}

async function inStream(): Promise<string[]> {
  return (await redis.xrange(STREAM, '-', '+')).flatMap(([, fields]) => contents(fields[3] ?? ''))
}

const records = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => `record ${from + at}`)

/** What the ledger would be: takes everything and tells up to where it has all. */
async function ledger(spool: Spool): Promise<{ readonly held: Set<string> }> {
  const held = new Set<string>()
  await streams.consume(STREAM, {
    group: 'audit',
    consumer: 'ledger',
    batch: 100,
    handle: async (messages) => {
      for (const { payload } of messages) for (const text of contents(payload)) held.add(text)
      let upTo = 0
      while (held.has(`record ${upTo + 1}`)) upTo += 1
      spool.confirm(upTo)
      return messages.map(() => 'done')
    },
  })
  return { held }
}

test('[P-098] it drains while running, in order', async () => {
  const spool = await open()
  await append(spool, 300)
  await append(spool, 300)
  await vi.waitFor(async () => expect(await inStream()).toEqual(records(1, 600)), 5_000)
  await vi.waitFor(() => expect(spool.health()).toMatchObject({ records: 600, unsent: 0, writeErrors: 0 }), 5_000)
  spool.confirm(600)
  expect(spool.health().records).toBe(0)
})

test('[P-098] Redis away: evidence is taken, waits, and is drained without a restart when Redis is back', async () => {
  const spool = await open()
  await append(spool, 10)
  await vi.waitFor(() => expect(spool.health().unsent).toBe(0), 5_000)
  await redis.config('SET', 'maxmemory', '1') // every write is refused
  const before = performance.now()
  await append(spool, 50)
  expect(performance.now() - before).toBeLessThan(5_000)
  await vi.waitFor(() => expect(spool.health().oldestSeconds).toBeGreaterThan(0.5), 5_000)
  expect(spool.health().unsent).toBe(50)
  expect(spool.writable()).toBe(true)
  await redis.config('SET', 'maxmemory', '0')
  await vi.waitFor(async () => expect(await inStream()).toEqual(records(1, 60)), { timeout: 10_000 })
})

test('[P-094] what was not sent when the process ended is sent by the next one, under the same name and numbers', async () => {
  const first = await open()
  await append(first, 5)
  await vi.waitFor(() => expect(first.health().unsent).toBe(0), 5_000)
  await redis.config('SET', 'maxmemory', '1')
  await append(first, 20)
  first.confirm(5)
  expect(await first.close(100)).toBe(20)
  await redis.config('SET', 'maxmemory', '0')
  const second = await open()
  expect(second.producer).toBe(first.producer)
  expect(second.producer).toMatch(/^gateway-[0-9a-f]{16}$/)
  expect(await second.append('record')).toBe(26)
  await vi.waitFor(async () => expect(await inStream()).toEqual(records(1, 26)), 5_000)
})

test('[P-098] closing sends what it can and says what is left', async () => {
  const spool = await open()
  void append(spool, 500)
  expect(await spool.close(5_000)).toBe(0)
  expect(await inStream()).toEqual(records(1, 500))
  await expect(spool.append('record')).rejects.toThrow('closed')
  expect(spool.writable()).toBe(false)
})

test('[P-099] Redis is flushed with a backlog: everything reaches the ledger', async () => {
  const spool = await open({ resendMs: 400 })
  await append(spool, 200)
  await vi.waitFor(() => expect(spool.health().unsent).toBe(0), 5_000)
  await redis.flushall() // it had acknowledged all of them
  const { held } = await ledger(spool)
  await append(spool, 50)
  await vi.waitFor(() => expect(held.size).toBe(250), { timeout: 10_000 })
  await vi.waitFor(() => expect(spool.health().records).toBe(0), 5_000)
})

test('[P-099] [P-173] a ledger that is only slow gets nothing twice', async () => {
  const spool = await open({ resendMs: 200 })
  await append(spool, 20)
  await new Promise((resolve) => setTimeout(resolve, 1_500))
  expect(await inStream()).toEqual(records(1, 20))
  const { held } = await ledger(spool)
  await vi.waitFor(() => expect(spool.health().records).toBe(0), 5_000)
  expect(held.size).toBe(20)
})

test('[P-099] the volume keeps what the ledger has not confirmed, and only that', async () => {
  const spool = await open({ segmentBytes: 800 })
  const segments = () => readdirSync(dir).filter((name) => name.endsWith('.spool'))
  for (let at = 0; at < 20; at += 1) await append(spool, 30)
  await vi.waitFor(() => expect(spool.health().unsent).toBe(0), 5_000)
  const full = segments().length
  expect(full).toBeGreaterThan(5)
  spool.confirm(300)
  await vi.waitFor(() => expect(segments().length).toBeLessThan(full), 5_000)
  expect(Number(segments()[0]?.slice(0, 16))).toBeLessThanOrEqual(301)
  spool.confirm(600)
  await vi.waitFor(() => expect(segments()).toHaveLength(1), 5_000)
  spool.confirm(10_000) // never appended
  expect(await spool.append('record')).toBe(601)
})

test('[P-098] a damaged record is reported to the ledger under its number; the others arrive', async () => {
  const first = await open()
  await redis.config('SET', 'maxmemory', '1')
  for (let at = 0; at < 9; at += 1) await append(first, 1)
  await first.close(0)
  await redis.config('SET', 'maxmemory', '0')
  const path = join(dir, readdirSync(dir).find((name) => name.endsWith('.spool')) ?? '')
  const bytes = readFileSync(path)
  bytes[bytes.indexOf(' 4 1 ') + 1] = 0x58
  writeFileSync(path, bytes)
  await open()
  const expected = records(1, 9).with(3, 'lost 4')
  await vi.waitFor(async () => expect(await inStream()).toEqual(expected), 5_000)
})

test('two processes cannot have one spool', async () => {
  await open()
  await expect(open()).rejects.toThrow('in use')
})
