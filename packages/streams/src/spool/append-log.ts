import { type FileHandle, open, rm, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { EvidenceUnavailable } from '../evidence-writer.ts'
import type { StreamLogger } from '../stream-logger.ts'
import { encodeRecord, isCutShort, SEGMENT_HEADER, type SpoolRecord, scanRecords, segmentName } from './segment.ts'
import { type Segment, syncDirectory } from './spool-files.ts'

type Waiting = {
  readonly seq: number
  readonly bytes: Buffer
  readonly resolve: (seq: number) => void
  readonly reject: (error: Error) => void
}

export type AppendLogOptions = {
  readonly dir: string
  readonly segments: Segment[]
  readonly logger: StreamLogger
  /** A segment that is this long is followed by a new one. */
  readonly segmentBytes: number
  /** Together the segments are never longer. */
  readonly maxBytes: number
  readonly onDurable: () => void
}

const PROBE_MS = 1_000
const READ_BYTES = 1024 * 1024

/**
 * The segments of one producer, appended to by group commit: one write and one fdatasync serve everything that arrived while
 * the last ones ran. When writing fails everything waiting is rejected, its numbers are given again, and a new segment is
 * tried at the next append and each second.
 */
export class AppendLog {
  readonly #options: AppendLogOptions
  readonly #segments: Segment[]
  #waiting: Waiting[] = []
  #waitingBytes = 0
  #next: number
  /** The open end of the last segment; undefined when the next append needs a new one. */
  #file: FileHandle | undefined
  #writing: Promise<void> | undefined
  #broken: Error | undefined
  #probe: NodeJS.Timeout | undefined
  #closed = false
  commits = 0
  writeErrors = 0

  constructor(options: AppendLogOptions) {
    this.#options = options
    this.#segments = options.segments
    this.#next = (this.#segments.at(-1)?.lastSeq ?? 0) + 1
  }

  /** Opens the last segment, or makes the first one, so that a volume that cannot be written is known at the start. */
  async open(): Promise<void> {
    const last = this.#segments.at(-1)
    if (last && last.length < this.#options.segmentBytes) this.#file = await open(last.path, 'r+')
    else await this.#openSegment()
  }

  /** Number of the last durable record. */
  get lastSeq(): number {
    return this.#segments.at(-1)?.lastSeq ?? this.#next - 1
  }

  get firstSeq(): number {
    return this.#segments[0]?.firstSeq ?? this.#next
  }

  get bytes(): number {
    let sum = this.#waitingBytes
    for (const segment of this.#segments) sum += segment.length
    return sum
  }

  get writable(): boolean {
    return !this.#closed && this.#broken === undefined && this.bytes < this.#options.maxBytes
  }

  /** Resolves with the number when the record is durable. @throws EvidenceUnavailable when it cannot be made so. */
  append(partition: string, make: (seq: number) => string): Promise<number> {
    if (this.#closed) return Promise.reject(new EvidenceUnavailable('the spool is closed'))
    const seq = this.#next
    const bytes = encodeRecord({ seq, partition, payload: make(seq) })
    if (this.bytes + bytes.length > this.#options.maxBytes) return Promise.reject(new EvidenceUnavailable('the spool is full'))
    this.#next += 1
    this.#waitingBytes += bytes.length
    return new Promise((resolve, reject) => {
      this.#waiting.push({ seq, bytes, resolve, reject })
      this.#writing ??= this.#write()
    })
  }

  async #write(): Promise<void> {
    await Promise.resolve() // everything that is appended in this turn goes along
    while (this.#waiting.length > 0) {
      const group = this.#waiting
      this.#waiting = []
      try {
        const segment = await this.#writableSegment(group[0]?.seq ?? this.#next)
        const bytes = Buffer.concat(group.map((entry) => entry.bytes))
        await this.#writeGroup(segment, bytes)
        segment.length += bytes.length
        segment.lastSeq = group.at(-1)?.seq ?? segment.lastSeq
        this.#waitingBytes -= bytes.length
        this.#mended()
        for (const entry of group) entry.resolve(entry.seq)
        this.#options.onDurable()
      } catch (error) {
        await this.#failed(error, group)
      }
    }
    this.#writing = undefined
  }

  async #writeGroup(segment: Segment, bytes: Buffer): Promise<void> {
    const file = this.#file
    if (!file) throw new Error('no segment is open')
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await file.write(bytes, done, bytes.length - done, segment.length + done)
      done += bytesWritten
    }
    await file.datasync()
    this.commits += 1
  }

  async #writableSegment(nextSeq: number): Promise<Segment> {
    const last = this.#segments.at(-1)
    if (this.#file && last && last.length < this.#options.segmentBytes) return last
    return await this.#openSegment(nextSeq)
  }

  async #openSegment(firstSeq: number = this.#next): Promise<Segment> {
    await this.#file?.close().catch(() => {})
    this.#file = undefined
    const path = join(this.#options.dir, segmentName(firstSeq))
    const last = this.#segments.at(-1)
    if (last?.firstSeq === firstSeq) this.#segments.pop() // it holds no record: begun anew
    await rm(path, { force: true })
    let file: FileHandle | undefined
    try {
      file = await open(path, 'wx', 0o600)
      await file.write(SEGMENT_HEADER, 0, SEGMENT_HEADER.length, 0)
      await file.datasync()
      await syncDirectory(this.#options.dir)
    } catch (error) {
      await file?.close().catch(() => {})
      if (file) await rm(path, { force: true }).catch(() => {})
      throw error
    }
    const segment = { firstSeq, path, length: SEGMENT_HEADER.length, lastSeq: firstSeq - 1, writtenAt: Date.now() }
    this.#segments.push(segment)
    this.#file = file
    return segment
  }

  /** After a failed write or sync nobody knows what is on the volume: the segment ends at its last good byte, a new one follows. */
  async #failed(error: unknown, group: readonly Waiting[]): Promise<void> {
    const cause = error instanceof Error ? error : new Error(String(error))
    this.writeErrors += 1
    if (!this.#broken) this.#options.logger.error({ err: cause }, 'the spool cannot be written')
    this.#broken = cause
    await this.#file?.close().catch(() => {})
    this.#file = undefined
    const last = this.#segments.at(-1)
    if (last) await truncate(last.path, last.length).catch(() => {}) // else recovery cuts it
    const rejected = [...group, ...this.#waiting]
    this.#waiting = []
    this.#waitingBytes = 0
    this.#next = group[0]?.seq ?? this.#next
    for (const entry of rejected) entry.reject(new EvidenceUnavailable('the spool cannot be written', { cause }))
    this.#probe ??= setInterval(() => this.#tryAgain(), PROBE_MS).unref()
  }

  #tryAgain(): void {
    if (this.#writing || this.#closed || !this.#broken) return
    this.#writing = this.#openSegment()
      .then(
        () => this.#mended(),
        () => {},
      )
      .then(() => {
        this.#writing = undefined
        if (this.#waiting.length > 0) this.#writing = this.#write()
      })
  }

  #mended(): void {
    if (!this.#broken) return
    this.#broken = undefined
    clearInterval(this.#probe)
    this.#probe = undefined
    this.#options.logger.info({}, 'the spool can be written again')
  }

  /** Durable records from the cursor on, about a mebibyte at a time; what is damaged comes as `lost`. */
  async read(from: LogCursor): Promise<LogPage> {
    const segment = this.#segments.findLast(({ firstSeq }) => firstSeq <= from.seq) ?? this.#segments[0]
    if (!segment || from.seq > this.lastSeq) return { found: [], cursor: from }
    const same = from.path === segment.path
    const start = same ? from.offset : SEGMENT_HEADER.length
    const expected = same ? from.seq : segment.firstSeq
    const rest = { start, length: segment.length - start, lastSeq: segment.lastSeq, path: segment.path }
    const page = await readPage({ ...rest, length: Math.min(rest.length, READ_BYTES) }, expected, rest.length > READ_BYTES)
    // Not one whole record in a mebibyte: look at everything that is left.
    const { found, cursor } = page.cursor.offset > start ? page : await readPage(rest, expected, false)
    return { found: found.filter((item) => ('lost' in item ? item.lost : item.seq) >= from.seq), cursor }
  }

  /** Removes segments that hold nothing after `seq`. The last one stays: its name carries the number. */
  async drop(seq: number): Promise<void> {
    while (this.#segments.length > 1 && (this.#segments[0]?.lastSeq ?? seq + 1) <= seq) {
      const [gone] = this.#segments.splice(0, 1)
      if (gone) await rm(gone.path, { force: true })
    }
  }

  /** Waits for what is being written and lets nothing in any more. */
  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#probe)
    await this.#writing
    await this.#file?.close().catch(() => {})
    this.#file = undefined
  }
}

/** Where reading goes on: the number, and where it stands if the segment is still the same. */
export type LogCursor = { readonly seq: number; readonly path: string; readonly offset: number }

/** Records in order; `lost` is the number of one that is damaged. */
export type LogPage = { readonly found: readonly (SpoolRecord | { readonly lost: number })[]; readonly cursor: LogCursor }

type Stretch = { readonly path: string; readonly start: number; readonly length: number; readonly lastSeq: number }

async function readPage({ path, start, length, lastSeq }: Stretch, expected: number, more: boolean): Promise<LogPage> {
  const bytes = await readRange(path, start, length)
  const found: (SpoolRecord | { lost: number })[] = []
  let next = expected
  let offset = 0
  for (const item of scanRecords(bytes, expected)) {
    if ('lost' in item) {
      if (more && isCutShort(bytes, offset)) break // it only began in these bytes
      for (let lost = item.lost; lost <= item.upTo; lost += 1) found.push({ lost })
      next = item.upTo + 1
    } else {
      if (item.record.seq > lastSeq) break
      found.push(item.record)
      next = item.record.seq + 1
    }
    offset = item.end
  }
  if (more) return { found, cursor: { seq: next, path, offset: start + offset } }
  for (; next <= lastSeq; next += 1) found.push({ lost: next })
  return { found, cursor: { seq: next, path, offset: start + length } }
}

async function readRange(path: string, start: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length)
  const file = await open(path, 'r')
  try {
    let done = 0
    while (done < length) {
      const { bytesRead } = await file.read(bytes, done, length - done, start + done)
      if (bytesRead === 0) break
      done += bytesRead
    }
    return bytes.subarray(0, done)
  } finally {
    await file.close()
  }
}
