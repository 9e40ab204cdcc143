import { execFileSync, spawn } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test, vi } from 'vitest'
import { EvidenceUnavailable } from '../evidence-writer.ts'
import { AppendLog } from './append-log.ts'
import type { LogCursor } from './log-page.ts'
import { recoverSegments } from './spool-files.ts'

const root = mkdtempSync(join(tmpdir(), 'caracal-spool-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))
let made = 0

function freshDir(): string {
  made += 1
  const dir = join(root, String(made))
  mkdirSync(dir)
  return dir
}

const reports: string[] = []
const logger = {
  info: () => {},
  warn: (_: object, message: string) => void reports.push(message),
  error: (_: object, message: string) => void reports.push(message),
}

const seal = (first: number, texts: readonly string[]) => texts.map((text, at) => `${text} ${first + at}\n`).join('')

async function openLog(dir: string, limits: { segmentBytes?: number; maxBytes?: number } = {}): Promise<AppendLog> {
  const segments = await recoverSegments(dir, logger)
  const log = new AppendLog({ dir, segments, logger, seal, segmentBytes: 1 << 19, maxBytes: 1 << 30, onDurable: () => {}, ...limits })
  await log.open()
  return log
}

async function everything(log: AppendLog, from = 1): Promise<(string | number)[]> {
  const all: (string | number)[] = []
  for (let cursor: LogCursor = { seq: from, place: null }; cursor.seq <= log.lastSeq; ) {
    const page = await log.read(cursor)
    for (const item of page.found) {
      if ('lost' in item) all.push(...Array.from({ length: item.count }, (_, at) => item.lost + at))
      else all.push(...item.payload.trimEnd().split('\n'))
    }
    cursor = page.cursor
  }
  return all
}

const payload = (seq: number) => `record ${seq}`
const upTo = (last: number) => Array.from({ length: last }, (_, at) => payload(at + 1))

test('[P-098] after a crash at any byte: every whole record is there, the torn tail is cut and reported, numbers go on without a hole', async () => {
  const dir = freshDir()
  const log = await openLog(dir)
  const ends: number[] = []
  for (let seq = 1; seq <= 5; seq += 1) {
    await log.append('record')
    ends.push(log.bytes)
  }
  await log.close()
  const [name = ''] = readdirSync(dir)
  const size = readFileSync(join(dir, name)).length
  for (let length = 0; length <= size; length += 1) {
    const copy = freshDir()
    copyFileSync(join(dir, name), join(copy, name))
    truncateSync(join(copy, name), length)
    reports.length = 0
    const whole = ends.filter((end) => end <= length).length
    const recovered = await openLog(copy)
    expect(recovered.lastSeq, `cut at ${length}`).toBe(whole)
    expect(await everything(recovered)).toEqual(upTo(whole))
    const torn = length > 16 && length !== 16 && !ends.includes(length)
    expect(reports.includes('a torn tail of the spool is cut'), `cut at ${length}`).toBe(torn)
    expect(await recovered.append('record')).toBe(whole + 1)
    await recovered.close()
    const again = await openLog(copy)
    expect(await everything(again)).toEqual(upTo(whole + 1))
    await again.close()
    rmSync(copy, { recursive: true })
  }
})

test('[P-094] what was acknowledged before a kill -9 is there, again and again', async () => {
  const dir = freshDir()
  const script = fileURLToPath(new URL('../test-support/append-until-killed.ts', import.meta.url))
  let highest = 0
  for (let round = 0; round < 4; round += 1) {
    const child = spawn(process.execPath, ['--no-warnings', script, dir], { stdio: ['ignore', 'pipe', 'inherit'] })
    let output = ''
    child.stdout.on('data', (data) => {
      output += data
      if (output.length > 12_000 + round * 9_000) child.kill('SIGKILL')
    })
    await new Promise((resolve) => child.once('close', resolve))
    const acknowledged = output.split('\n').slice(0, -1).map(Number)
    expect(acknowledged[0]).toBeGreaterThan(highest)
    highest = Math.max(...acknowledged)
    const log = await openLog(dir)
    expect(log.lastSeq).toBeGreaterThanOrEqual(highest)
    const found = await everything(log)
    expect(found).toEqual(Array.from({ length: log.lastSeq }, (_, at) => `record ${at + 1} ${'x'.repeat(500)}`))
    await log.close()
  }
})

test('[P-094] one sync serves every record that arrived while the last one ran', async () => {
  const log = await openLog(freshDir())
  const numbers: number[] = []
  const sources = Array.from({ length: 100 }, async () => {
    for (let at = 0; at < 50; at += 1) numbers.push(await log.append('record'))
  })
  await Promise.all(sources)
  expect(numbers.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 5_000 }, (_, at) => at + 1))
  expect(log.commits).toBeLessThan(500)
  expect(await everything(log)).toEqual(upTo(5_000))
  await log.close()
})

test('[P-094] groups are bounded in events and in bytes, whatever arrives at once', async () => {
  const log = await openLog(freshDir())
  const large = 'x'.repeat(60_000)
  const written = await Promise.all(Array.from({ length: 700 }, (_, at) => log.append(at % 100 === 0 ? large : 'record')))
  expect(written).toEqual(Array.from({ length: 700 }, (_, at) => at + 1))
  const { found } = await log.read({ seq: 1, place: null })
  const sizes = found.map((item) => ('lost' in item ? 0 : Buffer.byteLength(item.payload)))
  expect(Math.max(...found.map(({ count }) => count))).toBe(256)
  expect(Math.max(...sizes)).toBeLessThan(300 * 1024)
  expect(found.reduce((sum, { count }) => sum + count, 0)).toBe(700)
  await log.close()
})

test('[P-098] what is read from memory, from the volume, and from a segment that was made beforehand is the same', async () => {
  const dir = freshDir()
  const log = await openLog(dir, { segmentBytes: 1 << 20 })
  const text = 'x'.repeat(10_000)
  for (let at = 0; at < 40; at += 1) await Promise.all(Array.from({ length: 10 }, () => log.append(text)))
  const expected = Array.from({ length: 400 }, (_, at) => `${text} ${at + 1}`)
  expect(readdirSync(dir).filter((name) => name.endsWith('.spool')).length).toBeGreaterThan(3)
  expect((await log.read({ seq: 1, place: null })).remembered).toBe(true)
  expect(await everything(log)).toEqual(expected)
  log.forget(250)
  expect((await log.read({ seq: 1, place: null })).remembered).toBe(false)
  expect((await log.read({ seq: 251, place: null })).remembered).toBe(true)
  expect(await everything(log)).toEqual(expected)
  expect(await everything(log, 395)).toEqual(expected.slice(390)) // the group it stands in
  const copy = freshDir() // as a crash leaves it: the end of the last segment is zeros
  for (const name of readdirSync(dir)) copyFileSync(join(dir, name), join(copy, name))
  reports.length = 0
  const crashed = await openLog(copy, { segmentBytes: 1 << 20 })
  expect(reports).toEqual([])
  expect(await everything(crashed)).toEqual(expected)
  expect(await everything(crashed, 187)).toEqual(expected.slice(180)) // in the middle of a segment, more than a page in
  expect(await crashed.append('record')).toBe(401)
  await crashed.close()
  await log.close()
})

test('[P-098] the tail of an older segment is damaged: its events are lost by number, the next segment is read', async () => {
  const dir = freshDir()
  const log = await openLog(dir, { segmentBytes: 200 })
  for (let at = 0; at < 12; at += 1) await log.append('record')
  await log.close()
  const [name = ''] = readdirSync(dir).sort()
  const length = readFileSync(join(dir, name)).length
  truncateSync(join(dir, name), length - 3)
  const again = await openLog(dir, { segmentBytes: 200 })
  const found = await everything(again)
  expect(found).toHaveLength(12)
  expect(found.filter((item) => typeof item === 'number')).toHaveLength(1)
  await again.close()
})

test('[P-099] segments follow each other and go only when everything in them is confirmed', async () => {
  const dir = freshDir()
  const log = await openLog(dir, { segmentBytes: 200 })
  for (let at = 0; at < 40; at += 1) await log.append('record')
  const before = readdirSync(dir).length
  expect(before).toBeGreaterThan(5)
  await log.drop(20)
  expect(readdirSync(dir).length).toBeLessThan(before)
  expect(await everything(log)).toEqual(expect.arrayContaining(upTo(40).slice(20)))
  await log.drop(40)
  expect(readdirSync(dir)).toHaveLength(1)
  await log.close()
  const again = await openLog(dir, { segmentBytes: 200 })
  expect(await again.append('record')).toBe(41)
  await again.close()
})

test('[P-098] a full spool refuses and takes again once there is room', async () => {
  const log = await openLog(freshDir(), { segmentBytes: 500, maxBytes: 2_000 })
  let last = 0
  await expect(
    (async () => {
      for (;;) last = await log.append('record')
    })(),
  ).rejects.toThrow(EvidenceUnavailable)
  expect(await everything(log)).toEqual(upTo(last))
  await log.drop(last)
  expect(await log.append('record')).toBe(last + 1)
  await log.close()
})

test('[P-174] a spool that is nearly full says so, and what it says is what it does', async () => {
  const log = await openLog(freshDir(), { segmentBytes: 1_000, maxBytes: 20_000 })
  const tried = async (text: string) => {
    const said = log.writable
    const taken = await log.append(text).then(
      () => true,
      () => false,
    )
    return { said, taken }
  }
  let outcome = await tried('small')
  while (outcome.taken) {
    expect(outcome.said).toBe(true)
    outcome = await tried('small')
  }
  expect(await tried('small')).toEqual({ said: false, taken: false })
  await log.drop(log.lastSeq)
  expect(await tried('small')).toEqual({ said: true, taken: true })
  // What is refused because it is large is said, too, until something goes in again.
  expect((await tried('x'.repeat(19_900))).taken).toBe(false)
  expect(log.writable).toBe(false)
  expect((await tried('small')).taken).toBe(true)
  expect(log.writable).toBe(true)
  await log.close()
})

/** The size of any file this process writes; writing past it fails in the kernel, in the middle of a record. */
function limitFiles(bytes: number | 'unlimited'): void {
  execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${bytes}:unlimited`])
}

test('[P-098] while the volume cannot be written every append is refused; then it is taken again, without a hole', async () => {
  const dir = freshDir()
  const log = await openLog(dir)
  for (let at = 0; at < 3; at += 1) await log.append('record')
  limitFiles(log.bytes + 10) // the next record is written in part
  try {
    await expect(log.append('record')).rejects.toThrow(EvidenceUnavailable)
    expect(log.writable).toBe(false)
    limitFiles(0)
    const many = await Promise.allSettled(Array.from({ length: 10 }, () => log.append('record')))
    expect(many.map(({ status }) => status)).toEqual(Array(10).fill('rejected'))
    expect(log.writeErrors).toBeGreaterThan(0)
  } finally {
    limitFiles('unlimited')
  }
  await vi.waitFor(() => expect(log.writable).toBe(true), { timeout: 10_000 }) // without an append
  expect(await log.append('record')).toBe(4)
  expect(await everything(log)).toEqual(upTo(4))
  await log.close()
  const again = await openLog(dir)
  expect(await everything(again)).toEqual(upTo(4))
  await again.close()
})

test('a directory that is gone is an unwritable volume', async () => {
  const dir = freshDir()
  const log = await openLog(dir, { segmentBytes: 1 })
  await log.append('record')
  rmSync(dir, { recursive: true })
  await expect(log.append('record')).rejects.toThrow(EvidenceUnavailable)
  mkdirSync(dir)
  await vi.waitFor(() => expect(log.writable).toBe(true), { timeout: 10_000 })
  expect(await log.append('record')).toBe(2)
  await log.close()
})

test('an event that nobody waits for takes the next commit or makes one of its own, and is there when the log was closed', async () => {
  const dir = freshDir()
  const log = await openLog(dir)
  const quiet = log.append('record', 'soon')
  expect(await Promise.all([quiet, log.append('record')])).toEqual([1, 2])
  expect(log.commits, 'both in one').toBe(1)
  expect(await log.append('record', 'soon'), 'alone').toBe(3)
  for (let round = 0; round < 20; round += 1) {
    // One comes while a commit runs that takes it along: its own time ends with nothing left to write.
    const waited = log.append('record')
    const along = log.append('record', 'soon')
    await Promise.all([waited, along])
    await new Promise((resolve) => setTimeout(resolve, 25))
    expect(await log.append('record')).toBe(await log.append('record', 'soon').then((seq) => seq - 1))
  }
  const last = log.append('record', 'soon')
  await log.close()
  expect(await last).toBe(84)
  expect((await openLog(dir)).lastSeq).toBe(84)
})
