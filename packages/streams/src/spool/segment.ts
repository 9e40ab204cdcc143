import { crc32 } from 'node:zlib'

/** One entry of the spool: events `first` to `first + count - 1` of this producer, and what is sent for them. */
export type SpoolRecord = { readonly first: number; readonly count: number; readonly payload: string }

/** First bytes of every segment: what it is and in which version. */
export const SEGMENT_HEADER = Buffer.from('caracal spool 2\n')

/** A record begins with a byte that is not zero, the length of its body (24 bits) and the CRC-32 of its body, big endian. */
const FRAME = 8
const MARK = 0xca
/** First number (64 bits) and count (16 bits). */
const BODY_HEAD = 10
/** A group of events, or one that is larger than a group may be, fits. */
export const MAX_RECORD_BYTES = 512 * 1024

/** Bytes that a record takes in a segment. */
export function recordLength({ payload }: SpoolRecord): number {
  return FRAME + BODY_HEAD + Buffer.byteLength(payload)
}

/** Writes a record into `bytes` and returns where it ends. @throws RangeError for a record beyond 512 KiB. */
export function writeRecord(bytes: Buffer, at: number, { first, count, payload }: SpoolRecord): number {
  const end = at + FRAME + BODY_HEAD + bytes.write(payload, at + FRAME + BODY_HEAD)
  const length = end - at - FRAME
  if (length > MAX_RECORD_BYTES || count < 1 || count > 0xffff) throw new RangeError('the record is too large for the spool')
  bytes.writeUInt32BE(MARK * 2 ** 24 + length, at)
  bytes.writeUInt32BE(Math.floor(first / 2 ** 32), at + FRAME)
  bytes.writeUInt32BE(first % 2 ** 32, at + FRAME + 4)
  bytes.writeUInt16BE(count, at + FRAME + 8)
  bytes.writeUInt32BE(crc32(bytes.subarray(at + FRAME, end)), at + 4)
  return end
}

/** A record as it stands in a segment. */
export function encodeRecord(record: SpoolRecord): Buffer {
  const bytes = Buffer.allocUnsafe(recordLength(record))
  writeRecord(bytes, 0, record)
  return bytes
}

/** A record, or a stretch that held the events from `lost` up to `upTo`. */
export type Scanned =
  | { readonly record: SpoolRecord; readonly end: number }
  | { readonly lost: number; readonly upTo: number; readonly end: number }

/**
 * Reads records from `bytes`. `expected` is the first number of the first. Where a record is damaged it looks for the next whole
 * one and says what is lost between; it ends where no whole record follows, be it that none was written or that it was torn.
 */
export function* scanRecords(bytes: Buffer, expected: number): Generator<Scanned> {
  let at = 0
  let next = expected
  while (at < bytes.length) {
    const found = recordAt(bytes, at, next, next)
    if (found) {
      yield found
      at = found.end
      next += found.record.count
      continue
    }
    const beyond = nextWholeRecord(bytes, at, next)
    if (!beyond) return
    yield { lost: next, upTo: beyond.first - 1, end: beyond.start }
    at = beyond.start
    next = beyond.first
  }
}

/** Whether a frame stands here of which only the end is not in `bytes`. */
export function isCutShort(bytes: Buffer, at: number): boolean {
  if (bytes.length - at < FRAME) return true
  const length = lengthAt(bytes, at)
  return length !== undefined && at + FRAME + length > bytes.length
}

function lengthAt(bytes: Buffer, at: number): number | undefined {
  if (bytes[at] !== MARK) return undefined
  const length = bytes.readUInt32BE(at) % 2 ** 24
  return length >= BODY_HEAD && length <= MAX_RECORD_BYTES ? length : undefined
}

function recordAt(bytes: Buffer, at: number, lowest: number, highest: number): { record: SpoolRecord; end: number } | undefined {
  if (bytes.length - at < FRAME + BODY_HEAD) return undefined
  const length = lengthAt(bytes, at)
  if (length === undefined || at + FRAME + length > bytes.length) return undefined
  const first = bytes.readUInt32BE(at + FRAME) * 2 ** 32 + bytes.readUInt32BE(at + FRAME + 4)
  const count = bytes.readUInt16BE(at + FRAME + 8)
  if (first < lowest || first > highest || count < 1) return undefined
  const body = bytes.subarray(at + FRAME, at + FRAME + length)
  if (crc32(body) !== bytes.readUInt32BE(at + 4)) return undefined
  return { record: { first, count, payload: body.toString('utf8', BODY_HEAD) }, end: at + FRAME + length }
}

/** An event takes a byte at least: no more of them than bytes can be missing. */
function nextWholeRecord(bytes: Buffer, from: number, expected: number): { first: number; start: number } | undefined {
  for (let start = bytes.indexOf(MARK, from + 1); start !== -1; start = bytes.indexOf(MARK, start + 1)) {
    const found = recordAt(bytes, start, expected + 1, expected + bytes.length)
    if (found) return { first: found.record.first, start }
  }
  return undefined
}

/** Segments are named by their first number. */
export function segmentName(firstSeq: number): string {
  return `${String(firstSeq).padStart(16, '0')}.spool`
}

/** The first number, or undefined when the file is no segment. */
export function firstSeqOf(name: string): number | undefined {
  const digits = /^(\d{16})\.spool$/.exec(name)?.[1]
  return digits === undefined ? undefined : Number(digits)
}
