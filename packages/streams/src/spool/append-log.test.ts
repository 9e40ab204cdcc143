import { execFileSync, spawn } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test, vi } from 'vitest'
import { EvidenceUnavailable } from '../evidence-writer.ts'
import { AppendLog, type LogCursor } from './append-log.ts'
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

async function openLog(dir: string, limits: { segmentBytes?: number; maxBytes?: number } = {}): Promise<AppendLog> {
  const segments = await recoverSegments(dir, logger)
  const log = new AppendLog({ dir, segments, logger, segmentBytes: 1 << 20, maxBytes: 1 << 30, onDurable: () => {}, ...limits })
  await log.open()
  return log
}

async function everything(log: AppendLog): Promise<(string | number)[]> {
  const all: (string | number)[] = []
  for (let cursor: LogCursor = { seq: 1, path: '', offset: 0 }; cursor.seq <= log.lastSeq; ) {
    const page = await log.read(cursor)
    for (const item of page.found) all.push('lost' in item ? item.lost : item.payload)
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
    await log.append(`zone ${seq}`, payload)
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
    expect(await recovered.append('', payload)).toBe(whole + 1)
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
      if (output.length > 4_000 + round * 3_000) child.kill('SIGKILL')
    })
    await new Promise((resolve) => child.once('close', resolve))
    const acknowledged = output.split('\n').slice(0, -1).map(Number)
    expect(acknowledged[0]).toBeGreaterThan(highest)
    highest = Math.max(...acknowledged)
    const log = await openLog(dir)
    expect(log.lastSeq).toBeGreaterThanOrEqual(highest)
    const found = await everything(log)
    expect(found).toEqual(Array.from({ length: log.lastSeq }, (_, at) => `record ${at + 1} ${'x'.repeat((at + 1) % 300)}`))
    await log.close()
  }
})

test('[P-094] one sync serves every record that arrived while the last one ran', async () => {
  const log = await openLog(freshDir())
  const numbers: number[] = []
  const sources = Array.from({ length: 100 }, async () => {
    for (let at = 0; at < 50; at += 1) numbers.push(await log.append('zone', payload))
  })
  await Promise.all(sources)
  expect(numbers.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 5_000 }, (_, at) => at + 1))
  expect(log.commits).toBeLessThan(500)
  expect(await everything(log)).toEqual(upTo(5_000))
  await log.close()
})

test('[P-099] segments follow each other and go only when everything in them is confirmed', async () => {
  const dir = freshDir()
  const log = await openLog(dir, { segmentBytes: 200 })
  for (let at = 0; at < 40; at += 1) await log.append('zone', payload)
  const before = readdirSync(dir).length
  expect(before).toBeGreaterThan(5)
  await log.drop(20)
  expect(readdirSync(dir).length).toBeLessThan(before)
  expect(await everything(log)).toEqual(expect.arrayContaining(upTo(40).slice(20)))
  await log.drop(40)
  expect(readdirSync(dir)).toHaveLength(1)
  await log.close()
  const again = await openLog(dir, { segmentBytes: 200 })
  expect(await again.append('zone', payload)).toBe(41)
  await again.close()
})

test('[P-098] a full spool refuses and takes again once there is room', async () => {
  const log = await openLog(freshDir(), { segmentBytes: 500, maxBytes: 2_000 })
  let last = 0
  await expect(
    (async () => {
      for (;;) last = await log.append('zone', payload)
    })(),
  ).rejects.toThrow(EvidenceUnavailable)
  expect(await everything(log)).toEqual(upTo(last))
  await log.drop(last)
  expect(await log.append('zone', payload)).toBe(last + 1)
  await log.close()
})

/** The size of any file this process writes; writing past it fails in the kernel, in the middle of a record. */
function limitFiles(bytes: number | 'unlimited'): void {
  execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${bytes}:unlimited`])
}

test('[P-098] while the volume cannot be written every append is refused; then it is taken again, without a hole', async () => {
  const dir = freshDir()
  const log = await openLog(dir)
  for (let at = 0; at < 3; at += 1) await log.append('zone', payload)
  limitFiles(log.bytes + 10) // the next record is written in part
  try {
    await expect(log.append('zone', payload)).rejects.toThrow(EvidenceUnavailable)
    expect(log.writable).toBe(false)
    limitFiles(0)
    const many = await Promise.allSettled(Array.from({ length: 10 }, () => log.append('zone', payload)))
    expect(many.map(({ status }) => status)).toEqual(Array(10).fill('rejected'))
    expect(log.writeErrors).toBeGreaterThan(0)
  } finally {
    limitFiles('unlimited')
  }
  await vi.waitFor(() => expect(log.writable).toBe(true), { timeout: 10_000 }) // without an append
  expect(await log.append('zone', payload)).toBe(4)
  expect(await everything(log)).toEqual(upTo(4))
  await log.close()
  const again = await openLog(dir)
  expect(await everything(again)).toEqual(upTo(4))
  await again.close()
})

test('a directory that is gone is an unwritable volume', async () => {
  const dir = freshDir()
  const log = await openLog(dir, { segmentBytes: 1 })
  await log.append('zone', payload)
  rmSync(dir, { recursive: true })
  await expect(log.append('zone', payload)).rejects.toThrow(EvidenceUnavailable)
  mkdirSync(dir)
  expect(await log.append('zone', payload)).toBe(2)
  await log.close()
})
