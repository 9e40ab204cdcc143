import { type FileHandle, rm, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { MAX_GROUP_BYTES, MAX_GROUP_EVENTS } from '../evidence/evidence-payload.ts'
import { EvidenceUnavailable } from '../evidence-writer.ts'
import type { StreamLogger } from '../stream-logger.ts'
import { type LogCursor, type LogPage, readStretch } from './log-page.ts'
import { recordLength, SEGMENT_HEADER, type SpoolRecord, segmentName, writeRecord } from './segment.ts'
import { createSegmentFile, openSegmentFile, SpareSegment, writeDurably } from './segment-file.ts'
import type { Segment } from './spool-files.ts'

/** `soon`: nobody waits for it. */
export type Wanted = 'now' | 'soon'

type Waiting = {
  readonly text: string
  readonly bytes: number
  readonly resolve: (seq: number) => void
  readonly reject: (error: Error) => void
}

export type AppendLogOptions = {
  readonly dir: string
  readonly segments: Segment[]
  readonly logger: StreamLogger
  /** What is kept for the events `first` and following. Made once; these bytes are what is sent. */
  readonly seal: (first: number, texts: readonly string[]) => string
  /** A segment that is this long is followed by a new one. */
  readonly segmentBytes: number
  /** Together the segments are never longer. */
  readonly maxBytes: number
  readonly onDurable: () => void
}

const PROBE_MS = 500
/** Commits begin no faster one after the other: each costs the same whether it serves one event or fifty. A lone event never waits. */
const COMMIT_EVERY_MS = 2
/** How long an event that nobody waits for waits for a commit of others. */
const SOON_MS = 20
/** Room that there must be for the next events. */
const RESERVE_BYTES = 256 * 1024
const READ_BYTES = 1024 * 1024
/** Of what was written last and not sent yet, so much is not read back from the volume. Characters. */
const REMEMBERED = 4 * 1024 * 1024
/** Who writes little needs no place held. */
const SPARE_AFTER_BYTES = 128 * 1024
/** More than what the frame and the first line of a group take. */
const GROUP_OVERHEAD = 256

/**
 * The segments of one producer, appended to by group commit: one durable write serves everything that arrived while the last
 * one ran, in groups that are sealed as one. When writing fails everything waiting is rejected, its numbers are given again,
 * and everything is refused until a new segment can be written; that is tried twice a second.
 */
export class AppendLog {
  readonly #options: AppendLogOptions
  readonly #segments: Segment[]
  readonly #spare: SpareSegment
  #waiting: Waiting[] = []
  #waitingBytes = 0
  #storedBytes = 0
  /** Of the event that was refused last because there was no room. */
  #wanted = 0
  #buffer = Buffer.alloc(0)
  #next: number
  /** Written last, oldest first, without a gap up to the last durable record. */
  #recent: SpoolRecord[] = []
  #recentLength = 0
  /** The open end of the last segment; undefined when the next append needs a new one. */
  #file: FileHandle | undefined
  /** Whether a write makes the last segment longer on the volume. */
  #grows = true
  #writing: Promise<void> | undefined
  #soon: NodeJS.Timeout | undefined
  /** When the last commit began, on the clock of `performance.now`. */
  #begun = Number.NEGATIVE_INFINITY
  #broken: Error | undefined
  #probe: NodeJS.Timeout | undefined
  #closed = false
  commits = 0
  writeErrors = 0

  constructor(options: AppendLogOptions) {
    this.#options = options
    this.#segments = options.segments
    this.#spare = new SpareSegment(options.dir, options.segmentBytes)
    this.#next = (this.#segments.at(-1)?.lastSeq ?? 0) + 1
    for (const { length } of this.#segments) this.#storedBytes += length
  }

  /** Opens the last segment, or makes the first one, so that a volume that cannot be written is known at the start. */
  async open(): Promise<void> {
    await this.#spare.remove()
    const last = this.#segments.at(-1)
    if (last && last.length < this.#options.segmentBytes) this.#file = await openSegmentFile(last.path)
    else await this.#openSegment()
  }

  /** Number of the last durable event. */
  get lastSeq(): number {
    return this.#next - 1
  }

  get firstSeq(): number {
    return this.#segments[0]?.firstSeq ?? this.#next
  }

  get bytes(): number {
    return this.#storedBytes + this.#waitingBytes
  }

  get writable(): boolean {
    return !this.#closed && this.#broken === undefined && this.#hasRoom(this.#wanted)
  }

  /** A few events always fit as long as it is said that they do (P-174): what is nearly full refuses, and says so. */
  #hasRoom(bytes: number): boolean {
    const { maxBytes } = this.#options
    return this.bytes + Math.max(bytes, Math.min(RESERVE_BYTES, maxBytes / 8)) + GROUP_OVERHEAD <= maxBytes
  }

  /**
   * Resolves with the number of the event when it is durable. One that is wanted `soon` takes the next commit of others, or its own
   * after 20 ms. @throws EvidenceUnavailable when it cannot be made durable.
   */
  append(text: string, when: Wanted = 'now'): Promise<number> {
    if (this.#closed) return Promise.reject(new EvidenceUnavailable('the spool is closed'))
    const bytes = Buffer.byteLength(text) + 1
    if (this.#broken) return Promise.reject(new EvidenceUnavailable('the spool cannot be written', { cause: this.#broken }))
    if (!this.#hasRoom(bytes)) {
      this.#wanted = bytes
      return Promise.reject(new EvidenceUnavailable('the spool is full'))
    }
    this.#wanted = 0
    this.#waitingBytes += bytes
    return new Promise((resolve, reject) => {
      this.#waiting.push({ text, bytes, resolve, reject })
      if (when === 'now') this.#begin()
      else this.#soon ??= setTimeout(() => this.#begin(), SOON_MS).unref()
    })
  }

  #begin(): void {
    clearTimeout(this.#soon)
    this.#soon = undefined
    if (this.#waiting.length > 0) this.#writing ??= this.#write()
  }

  async #write(): Promise<void> {
    while (this.#waiting.length > 0) {
      await this.#gather()
      const entries = this.#waiting
      this.#waiting = []
      try {
        const segment = await this.#writableSegment()
        const records = this.#sealed(entries)
        this.#begun = performance.now()
        const bytes = this.#encoded(records)
        await this.#writeRecords(segment, bytes)
        this.#storedBytes += bytes.length
        segment.length += bytes.length
        segment.lastSeq += entries.length
        for (const entry of entries) this.#waitingBytes -= entry.bytes
        this.#mended()
        for (const record of records) this.#rememberRecord(record)
        for (const entry of entries) {
          entry.resolve(this.#next)
          this.#next += 1
        }
        this.#options.onDurable()
      } catch (error) {
        await this.#failed(error, entries)
      }
    }
    this.#writing = undefined
  }

  /** Everything that comes out of this turn of the event loop goes along, and under load what comes within the next moment. */
  #gather(): Promise<void> {
    const early = this.#begun + COMMIT_EVERY_MS - performance.now()
    return new Promise((resolve) => {
      if (early <= 0 || this.#closed) setImmediate(resolve)
      else setTimeout(resolve, early)
    })
  }

  /** Groups of bounded size, each sealed as one (P-100). */
  #sealed(entries: readonly Waiting[]): SpoolRecord[] {
    const records: SpoolRecord[] = []
    let texts: string[] = []
    let bytes = 0
    let first = this.#next
    const close = () => {
      records.push({ first, count: texts.length, payload: this.#options.seal(first, texts) })
      first += texts.length
      texts = []
      bytes = 0
    }
    for (const entry of entries) {
      if (texts.length > 0 && (texts.length === MAX_GROUP_EVENTS || bytes + entry.bytes > MAX_GROUP_BYTES)) close()
      texts.push(entry.text)
      bytes += entry.bytes
    }
    close()
    return records
  }

  /** In a buffer that the next write uses again. */
  #encoded(records: readonly SpoolRecord[]): Buffer {
    const length = records.reduce((sum, record) => sum + recordLength(record), 0)
    if (length > this.#buffer.length) this.#buffer = Buffer.allocUnsafeSlow(length * 2)
    let end = 0
    for (const record of records) end = writeRecord(this.#buffer, end, record)
    const bytes = this.#buffer.subarray(0, end)
    if (length > READ_BYTES) this.#buffer = Buffer.alloc(0) // one that is so large is not kept
    return bytes
  }

  async #writeRecords(segment: Segment, bytes: Buffer): Promise<void> {
    if (!this.#file) throw new Error('no segment is open')
    await writeDurably(this.#file, bytes, segment.length)
    this.commits += 1
  }

  async #writableSegment(): Promise<Segment> {
    const last = this.#segments.at(-1)
    if (!this.#file || !last || last.length >= this.#options.segmentBytes) return await this.#openSegment()
    if (this.#grows && this.#spare.isReady) return await this.#openSegment()
    if (last.length > SPARE_AFTER_BYTES) this.#spare.prepare()
    return last
  }

  async #openSegment(): Promise<Segment> {
    await this.#endSegment()
    const firstSeq = this.#next
    const path = join(this.#options.dir, segmentName(firstSeq))
    if (this.#segments.at(-1)?.firstSeq === firstSeq) this.#storedBytes -= this.#segments.pop()?.length ?? 0 // it holds nothing: begun anew
    const spare = await this.#spare.take(path)
    this.#file = spare ?? (await createSegmentFile(path, this.#options.dir))
    this.#grows = spare === undefined
    const segment = { firstSeq, path, length: SEGMENT_HEADER.length, lastSeq: firstSeq - 1 }
    this.#segments.push(segment)
    this.#storedBytes += segment.length
    return segment
  }

  /** Closes the last segment and cuts it at its last good byte; where that fails, recovery cuts it. */
  async #endSegment(): Promise<void> {
    await this.#file?.close().catch(() => {})
    const last = this.#segments.at(-1)
    if (this.#file && last) await truncate(last.path, last.length).catch(() => {})
    this.#file = undefined
  }

  /** After a failed write nobody knows what is on the volume: the segment ends at its last good byte, a new one follows. */
  async #failed(error: unknown, entries: readonly Waiting[]): Promise<void> {
    const cause = error instanceof Error ? error : new Error(String(error))
    this.writeErrors += 1
    if (!this.#broken) this.#options.logger.error({ err: cause }, 'the spool cannot be written')
    this.#broken = cause
    await this.#endSegment()
    const rejected = [...entries, ...this.#waiting]
    this.#waiting = []
    this.#waitingBytes = 0
    for (const entry of rejected) entry.reject(new EvidenceUnavailable('the spool cannot be written', { cause }))
    this.#probe ??= setInterval(() => this.#tryAgain(), PROBE_MS).unref()
  }

  #tryAgain(): void {
    if (this.#writing || this.#closed || !this.#broken) return
    this.#writing = this.#openSegment()
      .then(({ length }) => this.#proveRoom(length))
      .then(
        () => this.#mended(),
        () => {},
      )
      .then(() => {
        this.#writing = undefined
        if (this.#waiting.length > 0) this.#writing = this.#write()
      })
  }

  /** Zeros at the end of a segment are none of its records: a volume that takes them has room again, not only for a name. */
  async #proveRoom(position: number): Promise<void> {
    if (this.#file) await writeDurably(this.#file, Buffer.alloc(Math.min(RESERVE_BYTES, this.#options.segmentBytes)), position)
  }

  #mended(): void {
    if (!this.#broken) return
    this.#broken = undefined
    clearInterval(this.#probe)
    this.#probe = undefined
    this.#options.logger.info({}, 'the spool can be written again')
  }

  #rememberRecord(record: SpoolRecord): void {
    this.#recent.push(record)
    this.#recentLength += record.payload.length
    while (this.#recentLength > REMEMBERED) this.#recentLength -= this.#recent.shift()?.payload.length ?? 0
  }

  /** Durable records from the cursor on, about a mebibyte at a time; what is damaged comes as `lost`. */
  async read(from: LogCursor): Promise<LogPage> {
    if (from.seq > this.lastSeq) return { found: [], cursor: from, remembered: true }
    const remembered = this.#recall(from.seq)
    if (remembered) return remembered
    const segment = this.#segments.findLast(({ firstSeq }) => firstSeq <= from.seq) ?? this.#segments[0]
    if (!segment) return { found: [], cursor: from, remembered: false }
    const place = from.place?.path === segment.path ? from.place : { offset: SEGMENT_HEADER.length, number: segment.firstSeq }
    const length = segment.length - place.offset
    const rest = { path: segment.path, start: place.offset, length, number: place.number, lastSeq: segment.lastSeq }
    const page = await readStretch({ ...rest, length: Math.min(length, READ_BYTES) }, length > READ_BYTES)
    // Not one whole record in a mebibyte: look at everything that is left.
    const { found, cursor } = cursorMoved(page, rest.start) ? page : await readStretch(rest, false)
    return {
      found: found.filter((item) => ('lost' in item ? item.lost : item.first) + item.count > from.seq),
      cursor: { ...cursor, seq: Math.max(cursor.seq, from.seq) },
      remembered: false,
    }
  }

  /** What was written a moment ago, without a way over the volume. */
  #recall(seq: number): LogPage | undefined {
    if ((this.#recent[0]?.first ?? Number.POSITIVE_INFINITY) > seq) return undefined
    const found: SpoolRecord[] = []
    let next = seq
    let length = 0
    for (const record of this.#recent) {
      if (record.first + record.count <= seq) continue
      if (length > READ_BYTES) break
      found.push(record)
      length += record.payload.length
      next = record.first + record.count
    }
    return { found, cursor: { seq: next, place: null }, remembered: true }
  }

  /** What is sent is read from the volume if it has to be sent again. */
  forget(upTo: number): void {
    let gone = 0
    for (const { first, count, payload } of this.#recent) {
      if (first + count - 1 > upTo) break
      this.#recentLength -= payload.length
      gone += 1
    }
    if (gone > 0) this.#recent.splice(0, gone)
  }

  /** Removes segments that hold nothing after `seq`. The last one stays: its name carries the number. */
  async drop(seq: number): Promise<void> {
    while (this.#segments.length > 1 && (this.#segments[0]?.lastSeq ?? seq + 1) <= seq) {
      const [gone] = this.#segments.splice(0, 1)
      if (!gone) return
      this.#storedBytes -= gone.length
      await rm(gone.path, { force: true })
    }
  }

  /** Waits for what is being written and lets nothing in any more. */
  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#probe)
    this.#begin()
    await this.#writing
    await this.#endSegment()
    await this.#spare.remove()
  }
}

function cursorMoved({ cursor }: Omit<LogPage, 'remembered'>, from: number): boolean {
  return cursor.place !== null && cursor.place.offset > from
}
