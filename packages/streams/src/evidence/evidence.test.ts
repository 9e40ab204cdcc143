import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { canonicalJson, keyRing, MAX_EVENT_BYTES, newId } from '@caracal/core'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { embeddedStore, SILENT, type Store } from '../conformance/drivers.ts'
import type { EventDraft } from '../evidence-writer.ts'
import type { Streams } from '../streams.ts'
import { clippedText, eventClock, makeEvent } from './canonical-event.ts'
import { eventText } from './event-text.ts'
import { type EvidenceGroup, evidencePayload, verifyEvidence } from './evidence-payload.ts'
import { outboxEvidence } from './outbox-evidence.ts'
import { openEvidenceWriter, type SpoolEvidenceWriter } from './spool-evidence-writer.ts'

const KEYS = keyRing(randomBytes(32))
const STREAM = 'caracal.audit.events'
const zone = newId('zone')
const draft: EventDraft = { zone, type: 'call.allowed', decision: 'allow', operation: { method: 'GET', path: '/a' } }

let store: Store
let streams: Streams
let dir = ''
const writers: SpoolEvidenceWriter[] = []
beforeAll(async () => {
  store = await embeddedStore()
})
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'caracal-evidence-'))
  await store.flush()
  streams = store.open()
})
afterEach(async () => {
  await Promise.all(writers.splice(0).map((writer) => writer.close(0)))
  await streams.close()
  rmSync(dir, { recursive: true })
})
afterAll(() => store.close())

async function open(mode: 'write-ahead' | 'async' = 'write-ahead'): Promise<SpoolEvidenceWriter> {
  const writer = await openEvidenceWriter({ dir, service: 'gateway', keys: KEYS, streams, mode, logger: SILENT })
  writers.push(writer)
  return writer
}

type Single = { readonly producer: string; readonly seq: number | null; readonly event: string }

function singles({ producer, first, events }: EvidenceGroup): Single[] {
  return events.map((event, at) => ({ producer, seq: first === null ? null : first + at, event }))
}

async function consumed(count: number, keys = KEYS): Promise<(Single | string)[]> {
  const found: (Single | string)[] = []
  const consumer = await streams.consume(STREAM, {
    group: 'audit',
    consumer: 'c',
    batch: 100,
    handle: async (messages) => {
      for (const message of messages) {
        const verified = verifyEvidence(message.payload, keys)
        found.push(...(verified.ok ? verified.value.flatMap(singles) : [verified.problem]))
      }
      return messages.map(() => 'done')
    },
  })
  await vi.waitFor(() => expect(found.length).toBeGreaterThanOrEqual(count), 5_000)
  await consumer.stop()
  return found
}

test('[P-099] [P-100] what is recorded arrives as its exact canonical text, with producer, number without holes and MAC', async () => {
  const writer = await open()
  const ids: string[] = []
  for (let at = 0; at < 5; at += 1) ids.push(await writer.record(draft))
  const found = (await consumed(5)).filter((item) => typeof item !== 'string')
  expect(found.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5])
  expect(new Set(found.map(({ producer }) => producer))).toEqual(new Set([writer.producer]))
  const events = found.map(({ event }) => JSON.parse(event))
  expect(events.map(({ id }) => id)).toEqual(ids)
  expect(events.map((event) => canonicalJson(event))).toEqual(found.map(({ event }) => event))
  expect(events[0]).toMatchObject({ v: 1, ...draft, service: 'gateway' })
  expect(events[0].time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
})

test('[P-100] a spool file that was edited, its checksum made right, is recognised: set aside as it is, its number said to be lost', async () => {
  const path = () => join(dir, readdirSync(dir).find((name) => name.endsWith('.spool')) ?? '')
  const writer = await open()
  await writer.record(draft)
  await writer.record(draft)
  await writer.close(0)
  const bytes = readFileSync(path())
  bytes[bytes.indexOf('"GET') + 1] = 'P'.charCodeAt(0)
  bytes[bytes.indexOf('call.allowed') + 5] = 'A'.charCodeAt(0)
  bytes.writeUInt32BE(crc32(bytes.subarray(24, 24 + (bytes.readUInt32BE(16) % 2 ** 24))), 20)
  writeFileSync(path(), bytes)
  await store.flush()
  await open()
  const found = await consumed(3)
  expect(found.slice(0, 2)).toEqual(['not_authentic', { producer: writer.producer, seq: 1, event: '' }])
  expect(found[2]).toMatchObject({ seq: 2, event: expect.stringContaining('call.allowed') })
})

test('[P-100] [P-112] every field counts: no message can be turned into another, and a forgotten key is no key', () => {
  const { payload } = outboxEvidence({ service: 'api', keys: KEYS })(draft)
  const [header = '', event = ''] = payload.split('\n')
  const [producer, first, count, key, mac = ''] = header.split(' ')
  expect(verifyEvidence(payload, KEYS)).toEqual({ ok: true, value: [{ producer: 'api', first: null, events: [event] }] })
  expect(JSON.parse(event)).toMatchObject(draft)
  const message = (changed: object, lines = [event]) => {
    const given = { producer, first, count, key, mac, ...changed }
    return `${[given.producer, given.first, given.count, given.key, given.mac].join(' ')}\n${lines.map((line) => `${line}\n`).join('')}`
  }
  expect(message({})).toBe(payload)
  const changed = [
    ...[{ producer: 'sts' }, { producer: 'api-' }, { producer: '' }, { producer: 'a'.repeat(129) }, { producer: 'a b' }].map((c) =>
      message(c),
    ),
    ...['1', '0', '-1', '01', '1.5', '1e3', '', '9007199254740991', 'null'].map((value) => message({ first: value })),
    ...['0', '2', '', '01', '257', '-'].map((value) => message({ count: value })),
    message({ count: '2' }, [event.slice(0, 9), event.slice(9)]),
    message({ count: '2' }, [event, '']),
    message({ key: '00000000' }),
    message({ key: '' }),
    message({ mac: mac.slice(1) }),
    message({ mac: `${mac}A` }),
    message({ mac: '' }),
    message({}, [`${event} `]),
    message({}, ['']),
    message({}, []),
    ...[
      '',
      '\n',
      'x',
      'null',
      '[]',
      '{}',
      payload.slice(1),
      payload.slice(0, -1),
      `${payload}\n`,
      `${payload}x`,
      ` ${payload}`,
      `\n${payload}`,
    ],
    payload.replace('\n', '\r\n'),
  ]
  for (const text of changed) expect(verifyEvidence(text, KEYS).ok, text).toBe(false)
  const fresh = randomBytes(32)
  expect(verifyEvidence(payload, keyRing(fresh, KEYS.current.bytes)).ok).toBe(true)
  expect(verifyEvidence(payload, keyRing(fresh))).toEqual({ ok: false, problem: 'unknown_key' })
})

test('[P-100] [P-112] groups in one message stand for themselves: none can be cut, joined, split or moved to other numbers', () => {
  const group = fc.record({
    producer: fc.constantFrom('gateway-1', 'sts', 'api'),
    first: fc.option(fc.integer({ min: 1, max: 1_000_000 })),
    events: fc.array(fc.constantFrom('', '{}', '{"a":"é😀"}', '{"a":1}', '\u2028'), { minLength: 1, maxLength: 256 }),
  })
  fc.assert(
    fc.property(fc.array(group, { minLength: 1, maxLength: 4 }), fc.nat(), fc.constantFrom('', 'x', '\n', ' '), (groups, place, by) => {
      const payload = groups.map((one) => evidencePayload(KEYS, one)).join('')
      expect(verifyEvidence(payload, KEYS)).toEqual({ ok: true, value: groups })
      const at = place % payload.length
      const edited = `${payload.slice(0, at)}${by}${payload.slice(at + 1)}`
      const verified = verifyEvidence(edited, KEYS)
      if (edited !== payload) expect(verified.ok).toBe(false)
    }),
    { numRuns: 300 },
  )
  expect(() => evidencePayload(KEYS, { producer: 'a', first: 1, events: ['{}\n'] })).toThrow('line break')
  expect(() => evidencePayload(KEYS, { producer: 'a', first: 1, events: Array(257).fill('') })).toThrow('no such group')
  expect(() => evidencePayload(KEYS, { producer: 'a', first: 1, events: [] })).toThrow('no such group')
  expect(() => evidencePayload(KEYS, { producer: 'a b', first: 1, events: ['{}'] })).toThrow('no such group')
  const large = evidencePayload(KEYS, { producer: 'a', first: 1, events: ['x'.repeat(MAX_EVENT_BYTES + 1)] })
  expect(verifyEvidence(large, KEYS)).toEqual({ ok: false, problem: 'too_large' })
})

test('[P-097] nothing that a caller sends makes its own event undeliverable', () => {
  const nasty = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 300 }),
    fc.constantFrom('\0', '\ud800', 'a\udfffb', '\u0001'.repeat(20_000), '😀'.repeat(20_000), '__proto__', '"\\'.repeat(20_000)),
  )
  const drafts = fc.record({
    path: nasty,
    method: nasty,
    client: nasty,
    scopes: fc.array(nasty, { maxLength: 8 }),
    number: fc.constantFrom(1, Number.NaN, Number.POSITIVE_INFINITY),
    details: fc.dictionary(nasty, nasty, { maxKeys: 5 }),
  })
  fc.assert(
    fc.property(drafts, ({ path, method, client, scopes, number, details }) => {
      const given: EventDraft = {
        ...draft,
        operation: { path, method },
        client_request_id: client,
        scopes,
        outcome: { latency_ms: number },
        details,
      }
      const { text } = makeEvent(given, 'gateway', '2026-01-01T00:00:00.000000Z', 0)
      expect(Buffer.byteLength(text)).toBeLessThanOrEqual(MAX_EVENT_BYTES)
      expect(text).not.toContain('\\u0000')
      const event = JSON.parse(text)
      expect(canonicalJson(event)).toBe(text)
      expect(event).toMatchObject({ zone, type: 'call.allowed', decision: 'allow' })
    }),
    { numRuns: 60 },
  )
})

test('[P-097] the fast way and the slow way write the same bytes, and the fast one takes what services write', () => {
  const name = fc.oneof(
    fc.string({ maxLength: 5 }),
    fc.string({ unit: 'binary', maxLength: 3 }),
    fc.constantFrom('__proto__', 'constructor', 'a\0', '\ud800', '1', '10', '9', 'é'),
  )
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 20 }),
    fc.string({ maxLength: 300 }),
    fc.constantFrom('\0', '\ud83d', '"\\/\b\u007f\u2028'),
  )
  const number = fc.oneof(fc.double(), fc.integer(), fc.constantFrom(-0, 1e21, 1e-7, Number.NaN, Number.NEGATIVE_INFINITY))
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 10, depthSize: 'small' },
      text,
      number,
      fc.boolean(),
      fc.constantFrom(null, undefined),
      tie('list'),
      tie('members'),
    ),
    list: fc.array(tie('value'), { maxLength: 5 }),
    members: fc.dictionary(name, tie('value'), { maxKeys: 30 }),
  }))
  const given = { v: 1, id: newId('event'), time: '2026-01-01T00:00:00.000000Z', service: 'gateway' } as const
  let fast = 0
  fc.assert(
    fc.property(fc.dictionary(name, value, { maxKeys: 6 }), (members) => {
      const made = { ...draft, ...members } as EventDraft
      const quick = eventText({ ...made, ...given })
      if (quick !== undefined) fast += 1
      if (quick !== undefined && Buffer.byteLength(quick) <= MAX_EVENT_BYTES) expect(quick).toBe(clippedText(made, given))
    }),
    { numRuns: 500 },
  )
  expect(fast).toBeGreaterThan(50)
  const usual: EventDraft = {
    ...draft,
    actor: { subject: 'Zoë "Q" \0 \ud800', sessions: [] },
    outcome: { status: 200, latency_ms: 1.25 },
    details: { z: true, a: ['1'] },
  }
  expect(eventText({ ...usual, ...given })).toBe(clippedText(usual, given))
  expect(eventText({ details: { when: new Date() } })).toBeUndefined()
})

test('[P-097] a thousand large members are clipped, and the event says so', () => {
  const details = Object.fromEntries(Array.from({ length: 1_000 }, (_, at) => [`k${at}`, 'x'.repeat(1_000)]))
  const { text } = makeEvent(
    { ...draft, details, scopes: Array(1_000).fill('x'.repeat(1_000)) },
    'gateway',
    '2026-01-01T00:00:00.000000Z',
    0,
  )
  expect(Buffer.byteLength(text)).toBeLessThanOrEqual(MAX_EVENT_BYTES)
  expect(JSON.parse(text).details.clipped).toBe(true)
})

test('times of one process have microseconds and never repeat, and a clock that is set back is believed', () => {
  let now = Date.UTC(2026, 0, 2, 3, 4, 5, 678)
  const moment = eventClock(() => now)
  expect([moment().time, moment().time]).toEqual(['2026-01-02T03:04:05.678000Z', '2026-01-02T03:04:05.678001Z'])
  now += 0.5
  expect(moment().time).toBe('2026-01-02T03:04:05.678500Z')
  now -= 3_600_000
  expect(moment().time).toBe('2026-01-02T02:04:05.678500Z')
})

test('[P-099] what the ledger confirms on its stream is taken off the spool', async () => {
  const writer = await open()
  for (let at = 0; at < 4; at += 1) await writer.record(draft)
  await streams.publish('caracal.evidence', JSON.stringify({ v: 1, producer: 'gateway-other', seq: 4 }))
  await streams.publish('caracal.evidence', JSON.stringify({ v: 1, producer: writer.producer, seq: 3 }))
  await vi.waitFor(() => expect(writer.health().records).toBe(1), 5_000)
})

test('[P-094] `async` does not wait for the volume, `write-ahead` does', async () => {
  const writer = await open('async')
  await writer.record(draft)
  expect(writer.health().commits).toBe(0)
  await vi.waitFor(() => expect(writer.health().commits).toBe(1), 5_000)
  await writer.close(1_000)
  const ahead = await open()
  await ahead.record(draft)
  expect(ahead.health().commits).toBe(1)
})
