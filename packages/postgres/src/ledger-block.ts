import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import type { Event, EventId, ZoneId } from '@caracal/core'
import { DICTIONARY_1 } from './ledger-dictionary.ts'
import { bucketOf, encodeMarks, isTypeId, markOfId, millisOfId, termOfId } from './ledger-ids.ts'
import { ID_FIELDS, SEARCHED, searchedValue, termKey, WORD_FIELDS } from './ledger-terms.ts'

/** What is appended: the event, and the exact text it came as. */
export type NewLogEntry = { readonly event: Event; readonly text: string }

/** A block ends at this many events or characters. */
export const BLOCK_EVENTS = 1_024
const BLOCK_CHARACTERS = 1_048_576

/** How the text of a block is stored; the numbers are those of `log_blocks.codec`. */
const PLAIN = 0
const ZSTD = 1
const ZSTD_DICTIONARY_1 = 2

/** Above this a dictionary gains nothing. Bytes. */
const DICTIONARY_BELOW = 65_536
/** Measured with evidence of calls: higher levels take eight times as long and gain nothing. */
const LEVEL = { [constants.ZSTD_c_compressionLevel]: 1 }
/** More than the largest block has: 4,096 events of 64 KiB. */
const MOST_BYTES = 4_096 * 65_537

/** A block that is ready but for its place in the log. */
export type BlockDraft = {
  readonly entries: readonly NewLogEntry[]
  /** The text of all events, each behind a NUL byte. */
  readonly raw: Uint8Array
  /** Where each event begins in `raw`, its NUL included. */
  readonly starts: readonly number[]
  readonly codec: number
  readonly data: Uint8Array
  /** First and last time of an event, RFC 3339. */
  readonly fromTime: string
  readonly toTime: string
  readonly bucket: number
  readonly idsFrom: number
  readonly idsTo: number
  readonly eventIds: Uint8Array
  readonly otherIds: Uint8Array
  /** Keys of the terms, which get the number of the block's span. */
  readonly keys: readonly bigint[]
  /** Terms of ids of another bucket. */
  readonly farIds: readonly bigint[]
}

/** Entries of a zone as blocks: of one bucket each, otherwise in the order given. An id of an event must be one, and no text may have a NUL. */
export function draftBlocks(zone: ZoneId, entries: readonly NewLogEntry[]): readonly BlockDraft[] {
  return [...cut(entries)].map(([bucket, part]) => draftBlock(zone, bucket, part))
}

function* cut(entries: readonly NewLogEntry[]): Generator<[number, NewLogEntry[]]> {
  const buckets = new Map<number, NewLogEntry[]>()
  for (const entry of entries) {
    const bucket = bucketOf(millisOfId(entry.event.id))
    const others = buckets.get(bucket)
    if (others === undefined) buckets.set(bucket, [entry])
    else others.push(entry)
  }
  for (const [bucket, together] of [...buckets].sort(([a], [b]) => a - b)) {
    let part: NewLogEntry[] = []
    let characters = 0
    for (const entry of together) {
      if (part.length === BLOCK_EVENTS || (part.length > 0 && characters + entry.text.length > BLOCK_CHARACTERS)) {
        yield [bucket, part]
        part = []
        characters = 0
      }
      part.push(entry)
      characters += entry.text.length
    }
    yield [bucket, part]
  }
}

function draftBlock(zone: ZoneId, bucket: number, entries: readonly NewLogEntry[]): BlockDraft {
  const raw = Buffer.from(`\0${entries.map(({ text }) => text).join('\0')}`)
  const starts = startsOf(raw)
  if (starts.length !== entries.length) throw new Error('the text of an event has a NUL')
  const { eventMarks, otherMarks, keys, farIds, ...found } = findableBy(
    zone,
    bucket,
    entries.map(({ event }) => event),
  )
  const marks = { eventIds: encodeMarks(eventMarks), otherIds: encodeMarks([...otherMarks]) }
  return { entries, raw, starts, ...compress(raw), bucket, ...found, ...marks, keys: [...keys], farIds: [...farIds] }
}

/** What a block of events is found by; every column but its text and its place follows from this. */
export type Findable = Pick<BlockDraft, 'fromTime' | 'toTime' | 'idsFrom' | 'idsTo'> & {
  readonly eventMarks: readonly number[]
  readonly otherMarks: ReadonlySet<number>
  readonly keys: ReadonlySet<bigint>
  readonly farIds: ReadonlySet<bigint>
}

export function findableBy(zone: ZoneId, bucket: number, events: readonly Event[]): Findable {
  let fromTime = '\uffff'
  let toTime = ''
  let idsFrom = Number.POSITIVE_INFINITY
  let idsTo = 0
  const eventMarks: number[] = []
  for (const event of events) {
    const millis = millisOfId(event.id)
    if (millis < idsFrom) idsFrom = millis
    if (millis > idsTo) idsTo = millis
    eventMarks.push(markOfId(event.id))
    const time = withMicroseconds(event.time)
    if (time < fromTime) fromTime = time
    if (time > toTime) toTime = time
  }
  const keys = new Set<bigint>()
  const farIds = new Set<bigint>()
  const otherMarks = new Set<number>()
  for (const field of WORD_FIELDS)
    for (const value of valuesOf(events, SEARCHED[field])) keys.add(termKey(zone, field, searchedValue(value)))
  for (const field of ID_FIELDS) {
    for (const value of valuesOf(events, SEARCHED[field])) {
      const id = searchedValue(value)
      if (!isTypeId(id)) {
        keys.add(termKey(zone, field, id))
        continue
      }
      const millis = millisOfId(id)
      if (bucketOf(millis) !== bucket) {
        farIds.add(termOfId(id))
        continue
      }
      if (millis < idsFrom) idsFrom = millis
      if (millis > idsTo) idsTo = millis
      otherMarks.add(markOfId(id))
    }
  }
  return { fromTime, toTime, idsFrom, idsTo, eventMarks, otherMarks, keys, farIds }
}

/** The different values of a field. Neighbours are mostly alike. */
function valuesOf(events: readonly Event[], read: (event: Event) => unknown): ReadonlySet<unknown> {
  const values = new Set<unknown>()
  let before: unknown
  for (const event of events) {
    const value = read(event)
    if (value === undefined || value === null || value === before) continue
    before = value
    values.add(value)
  }
  return values
}

/** Times of one length compare as text. */
function withMicroseconds(time: string): string {
  if (time.length === 27) return time
  const [, seconds = '', fraction = ''] = /^([^.Z]+)(?:\.(\d+))?Z$/.exec(time) ?? []
  return `${seconds}.${fraction.padEnd(6, '0')}Z`
}

function compress(raw: Uint8Array): { readonly codec: number; readonly data: Uint8Array } {
  if (raw.length >= DICTIONARY_BELOW) return { codec: ZSTD, data: zstdCompressSync(raw, { params: LEVEL }) }
  return { codec: ZSTD_DICTIONARY_1, data: zstdCompressSync(raw, { params: LEVEL, dictionary: DICTIONARY_1 }) }
}

/** A block that cannot be what was appended: the store was damaged. */
export class BlockBroken extends Error {
  override readonly name = 'BlockBroken'
  readonly firstSeq: number
  constructor(firstSeq: number, problem: string, cause?: unknown) {
    super(`the block of entry ${firstSeq} ${problem}`, { cause })
    this.firstSeq = firstSeq
  }
}

export type StoredBlock = { readonly first_seq: number; readonly count: number; readonly codec: number; readonly data: Uint8Array }

/** A block's text, and where each of its events begins there. @throws BlockBroken */
export function openBlock(block: StoredBlock): { readonly raw: Buffer; readonly starts: readonly number[] } {
  const raw = decompress(block)
  const starts = startsOf(raw)
  if (starts.length !== block.count)
    throw new BlockBroken(block.first_seq, `has ${starts.length} events where ${block.count} were appended`)
  return { raw, starts }
}

/** The exact text of one event of an opened block. */
export function textAt({ raw, starts }: { readonly raw: Buffer; readonly starts: readonly number[] }, at: number): string {
  return raw.toString('utf8', (starts[at] ?? raw.length) + 1, starts[at + 1] ?? raw.length)
}

function decompress({ first_seq, codec, data }: StoredBlock): Buffer {
  if (codec === PLAIN) return Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  try {
    if (codec === ZSTD) return zstdDecompressSync(data, { maxOutputLength: MOST_BYTES })
    if (codec === ZSTD_DICTIONARY_1) return zstdDecompressSync(data, { maxOutputLength: MOST_BYTES, dictionary: DICTIONARY_1 })
  } catch (cause) {
    throw new BlockBroken(first_seq, 'cannot be decompressed', cause)
  }
  throw new BlockBroken(first_seq, `has the unknown codec ${codec}`)
}

function startsOf(raw: Buffer): number[] {
  const starts: number[] = []
  if (raw[0] !== 0) return starts
  for (let at = 0; at >= 0; at = raw.indexOf(0, at + 1)) starts.push(at)
  return starts
}

/** The id that the text of an event says, or nothing when it is no event. */
export function idOfText(text: string): EventId | '' {
  try {
    const event: unknown = JSON.parse(text)
    return typeof event === 'object' && event !== null && 'id' in event && typeof event.id === 'string' ? (event.id as EventId) : ''
  } catch {
    return ''
  }
}
