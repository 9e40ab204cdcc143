import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { crc32 } from 'node:zlib'
import { keyRing, macText } from '@caracal/core'
import { afterAll, beforeEach, expect, test } from 'vitest'
import { evidencePayload, verifyEvidence } from '../evidence/evidence-payload.ts'
import { AppendLog } from './append-log.ts'
import { segmentName } from './segment.ts'
import { recoverSegments } from './spool-files.ts'
import { upgradeSegments } from './upgrade.ts'

const KEY = randomBytes(32)
const KEYS = keyRing(KEY)
const producer = 'sts-0011223344556677'
const root = mkdtempSync(join(tmpdir(), 'caracal-upgrade-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))
let dir = ''
const errors: object[] = []
const logger = { info: () => {}, warn: () => {}, error: (about: object) => void errors.push(about) }
beforeEach(() => {
  dir = mkdtempSync(join(root, 'dir-'))
  errors.length = 0
})

const text = (seq: number, size = 1) => JSON.stringify({ id: `evt_${seq}`, text: 'ä"'.repeat(size) })

/** A message as version 1 made it: the text of one event inside JSON, with a MAC of its own. */
function message1(seq: number | null, event: string, keys = KEYS): string {
  const key = keys.current.id
  const mac = macText(keys, ['caracal.evidence', key, producer, seq === null ? '' : String(seq), event])
  return JSON.stringify({ producer, seq, key, mac, event })
}

/** A record as version 1 wrote it: length and CRC-32 of the body; number, length of the partition, partition, payload. */
function record1(seq: number, payload = message1(seq, text(seq))): Buffer {
  const head = Buffer.alloc(18)
  const zone = Buffer.from('zon_1')
  head.writeBigUInt64BE(BigInt(seq), 8)
  head.writeUInt16BE(zone.length, 16)
  const bytes = Buffer.concat([head, zone, Buffer.from(payload)])
  bytes.writeUInt32BE(bytes.length - 8, 0)
  bytes.writeUInt32BE(crc32(bytes.subarray(8)), 4)
  return bytes
}

function segment1(first: number, records: readonly Buffer[]): void {
  writeFileSync(join(dir, segmentName(first)), Buffer.concat([Buffer.from('caracal spool 1\n'), ...records]))
}

const records1 = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => record1(from + at))
const texts = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => text(from + at))

/** What the directory holds once it is opened, from its first number on, and the next number that is given. */
async function opened(from = 1): Promise<{ events: string[]; next: number }> {
  const seal = (first: number, events: readonly string[]) => evidencePayload(KEYS, { producer, first, events })
  await upgradeSegments({
    dir,
    producer,
    logger,
    seal: (group) => evidencePayload(KEYS, group),
    open: (text) => verifyEvidence(text, KEYS),
  })
  const segments = await recoverSegments(dir, logger)
  const log = new AppendLog({ dir, segments, logger, seal, segmentBytes: 1 << 20, maxBytes: 1 << 30, onDurable: () => {} })
  await log.open()
  const events: string[] = []
  while (from + events.length <= log.lastSeq) {
    const { found } = await log.read({ seq: from + events.length, place: null })
    for (const item of found) {
      if ('lost' in item) events.push(...Array(item.count).fill(''))
      else {
        const verified = verifyEvidence(item.payload, KEYS)
        if (!verified.ok) throw new Error(verified.problem)
        expect(verified.value).toMatchObject([{ producer, first: from + events.length }])
        events.push(...verified.value.flatMap((group) => group.events))
      }
    }
  }
  const next = await log.append(text(log.lastSeq + 1))
  await log.close()
  return { events, next }
}

test('[P-094] segments of version 1 are taken over once: same events, same producer, same numbers, and they go on', async () => {
  segment1(5, records1(5, 304))
  segment1(305, [...records1(305, 309), record1(310, message1(310, text(310, 8_000))), ...records1(311, 330)])
  segment1(331, [])
  const { events, next } = await opened(5)
  expect(events).toEqual(texts(5, 330).with(305, text(310, 8_000)))
  expect(next).toBe(331)
  expect(readdirSync(dir).sort()).toEqual([5, 305, 331].map(segmentName))
  const before = readFileSync(join(dir, segmentName(5)))
  expect((await opened(5)).next).toBe(332) // nothing is left to be taken over
  expect(readFileSync(join(dir, segmentName(5)))).toEqual(before)
  expect(errors).toEqual([])
})

test('[P-094] a segment of version 1 that holds nothing, not even its whole header, keeps the number in its name', async () => {
  segment1(42, [])
  expect(await opened(42)).toEqual({ events: [], next: 42 })
  segment1(77, [])
  truncateSync(join(dir, segmentName(77)), 7)
  rmSync(join(dir, segmentName(42)))
  expect(await opened(77)).toEqual({ events: [], next: 77 })
})

test('[P-098] a torn tail of version 1 is cut, what a newer segment holds too is taken from there, what is damaged is lost by number', async () => {
  const damaged = record1(3)
  damaged[30] = (damaged[30] ?? 0) ^ 1
  segment1(1, [...records1(1, 2), damaged, record1(4), record1(5, message1(5, text(999)))])
  segment1(5, [...records1(5, 6), record1(7).subarray(0, 100)])
  expect(await opened()).toEqual({ events: [text(1), text(2), '', text(4), text(5), text(6)], next: 7 })
  expect(errors).toEqual([{ from: 3, to: 3 }])
})

test('[P-098] most of a segment is damaged: what stands behind it is not lost with it', async () => {
  segment1(1, [record1(1), ...records1(2, 900).map((bytes) => bytes.fill(0x5a)), record1(901)])
  const { events, next } = await opened()
  expect(events).toEqual([text(1), ...Array(899).fill(''), text(901)])
  expect(next).toBe(902)
})

test('[P-100] what does not verify is never sealed anew: its number is lost, its bytes stay beside the segment', async () => {
  const strangers = keyRing(randomBytes(32))
  const changed = [
    message1(2, text(2)).replace('evt_2', 'evt_3'),
    message1(2, text(2), strangers),
    message1(3, text(3)), // under another number
    message1(null, text(2)),
    message1(2, text(2)).replace(producer, 'sts-ffffffffffffffff'),
    evidencePayload(KEYS, { producer, first: 2, events: [text(2), text(3)] }),
    '{"producer":',
    '{}',
    '',
  ]
  for (const payload of changed) {
    segment1(1, [record1(1), record1(2, payload), record1(3)])
    const before = readFileSync(join(dir, segmentName(1)))
    expect(await opened(), payload).toEqual({ events: [text(1), '', text(3)], next: 4 })
    expect(errors.splice(0), payload).toMatchObject([{ seq: 2 }])
    expect(readFileSync(join(dir, `${segmentName(1)}.unverified`))).toEqual(before)
  }
  segment1(1, [record1(1), record1(2, changed[0])])
  expect((await opened()).next).toBe(3) // the last one's number is not given again either
})

test('[P-094] a kill -9 at any instant leaves every segment in the one or the other version, and the next start goes on', async () => {
  for (let first = 1; first <= 601; first += 30)
    segment1(first, first === 31 ? [record1(31, '{}'), ...records1(32, 60)] : records1(first, first + 29))
  const old = dir
  const script = fileURLToPath(new URL('../test-support/upgrade-until-killed.ts', import.meta.url))
  const expected = texts(1, 630).with(30, '')
  let between = 0
  for (let stop = 0; stop <= 20; stop += 5) {
    dir = join(root, `killed-${stop}`)
    cpSync(old, dir, { recursive: true })
    const child = spawn(process.execPath, ['--no-warnings', script, dir, producer, KEY.toString('hex')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let lines = 0
    child.stdout.on('data', (data) => {
      lines += String(data).split('\n').length - 1
      if (lines >= stop) child.kill('SIGKILL')
    })
    await new Promise((resolve) => child.once('close', resolve))
    const versions = readdirSync(dir)
      .filter((name) => name.endsWith('.spool'))
      .map((name) => readFileSync(join(dir, name), 'latin1').slice(0, 16))
    expect(versions).toHaveLength(21)
    const done = versions.filter((version) => version === 'caracal spool 2\n').length
    expect(versions.filter((version) => version === 'caracal spool 1\n').length).toBe(21 - done)
    if (done > 0 && done < 21) between += 1
    expect(await opened()).toEqual({ events: expected, next: 631 })
    expect(existsSync(join(dir, `${segmentName(31)}.unverified`))).toBe(true)
  }
  expect(between).toBeGreaterThan(0)
})

test('[P-094] what a crash of the upgrade leaves half written is no segment', async () => {
  segment1(1, records1(1, 3))
  writeFileSync(join(dir, `${segmentName(1)}.new`), 'caracal spool 2\nhalf')
  mkdirSync(join(dir, 'other'))
  expect(await opened()).toEqual({ events: texts(1, 3), next: 4 })
  expect(existsSync(join(dir, `${segmentName(1)}.new`))).toBe(false)
})

test('[P-100] a message of version 1 that an outbox or a stream still holds is taken, alone, and only as it was made', () => {
  for (const seq of [null, 7]) {
    const payload = message1(seq, text(7))
    expect(verifyEvidence(payload, KEYS)).toEqual({ ok: true, value: [{ producer, first: seq, events: [text(7)] }] })
    const group = evidencePayload(KEYS, { producer, first: 8, events: [text(8)] })
    for (const wrong of [
      payload + group,
      group + payload,
      payload + payload,
      payload.replace('evt_7', 'evt_8'),
      payload.replace('sts', 'api'),
    ])
      expect(verifyEvidence(wrong, KEYS).ok, wrong).toBe(false)
    expect(verifyEvidence(payload, keyRing(randomBytes(32)))).toEqual({ ok: false, problem: 'unknown_key' })
  }
  for (const wrong of ['{', '{}', '{"seq":0}', JSON.stringify({ ...JSON.parse(message1(7, text(7))), seq: -1 })])
    expect(verifyEvidence(wrong, KEYS)).toEqual({ ok: false, problem: 'malformed_message' })
})
