import { crc32 } from 'node:zlib'

/** One entry of the spool: which number it has at this producer, what it is ordered by, what is sent. */
export type SpoolRecord = { readonly seq: number; readonly partition: string; readonly payload: string }

/** First bytes of every segment: what it is and in which version. */
export const SEGMENT_HEADER = Buffer.from('caracal spool 1\n')

/** A record is the length of its body, the CRC-32 of its body (both 32 bits, big endian), and the body. */
const FRAME = 8
/** Sequence number and length of the partition. */
const BODY_HEAD = 10
/** An event of 64 KiB, escaped once more, fits. */
export const MAX_RECORD_BYTES = 256 * 1024

/** @throws RangeError for a record beyond 256 KiB. */
export function encodeRecord({ seq, partition, payload }: SpoolRecord): Buffer {
  const partitionBytes = Buffer.byteLength(partition)
  const length = BODY_HEAD + partitionBytes + Buffer.byteLength(payload)
  if (length > MAX_RECORD_BYTES || partitionBytes > 0xffff) throw new RangeError('the record is too large for the spool')
  const bytes = Buffer.allocUnsafe(FRAME + length)
  bytes.writeUInt32BE(length, 0)
  bytes.writeBigUInt64BE(BigInt(seq), FRAME)
  bytes.writeUInt16BE(partitionBytes, FRAME + 8)
  bytes.write(partition, FRAME + BODY_HEAD)
  bytes.write(payload, FRAME + BODY_HEAD + partitionBytes)
  bytes.writeUInt32BE(crc32(bytes.subarray(FRAME)), 4)
  return bytes
}

/** A record, or a stretch that held the records from `lost` up to the one before the next. */
export type Scanned =
  | { readonly record: SpoolRecord; readonly end: number }
  | { readonly lost: number; readonly upTo: number; readonly end: number }

/**
 * Reads records from `bytes`. `expected` is the number of the first. Where a record is damaged it looks for the next whole one
 * and says what is lost between; it ends where no whole record follows, be it that none was written or that it was torn.
 */
export function* scanRecords(bytes: Buffer, expected: number): Generator<Scanned> {
  let at = 0
  let next = expected
  while (at < bytes.length) {
    const found = recordAt(bytes, at, next, next)
    if (found) {
      yield found
      at = found.end
      next += 1
      continue
    }
    const beyond = nextWholeRecord(bytes, at, next)
    if (!beyond) return
    yield { lost: next, upTo: beyond.seq - 1, end: beyond.start }
    at = beyond.start
    next = beyond.seq
  }
}

/** Whether a frame stands here of which only the end is not in `bytes`. */
export function isCutShort(bytes: Buffer, at: number): boolean {
  if (bytes.length - at < FRAME) return true
  const length = bytes.readUInt32BE(at)
  return length >= BODY_HEAD && length <= MAX_RECORD_BYTES && at + FRAME + length > bytes.length
}

function recordAt(bytes: Buffer, at: number, lowest: number, highest: number): { record: SpoolRecord; end: number } | undefined {
  if (bytes.length - at < FRAME + BODY_HEAD) return undefined
  const length = bytes.readUInt32BE(at)
  if (length < BODY_HEAD || length > MAX_RECORD_BYTES || at + FRAME + length > bytes.length) return undefined
  const seq = Number(bytes.readBigUInt64BE(at + FRAME))
  if (seq < lowest || seq > highest) return undefined
  const body = bytes.subarray(at + FRAME, at + FRAME + length)
  const partitionEnd = BODY_HEAD + body.readUInt16BE(8)
  if (partitionEnd > body.length || crc32(body) !== bytes.readUInt32BE(at + 4)) return undefined
  const partition = body.toString('utf8', BODY_HEAD, partitionEnd)
  return { record: { seq, partition, payload: body.toString('utf8', partitionEnd) }, end: at + FRAME + length }
}

/** No more records than bytes can be missing. */
function nextWholeRecord(bytes: Buffer, from: number, expected: number): { seq: number; start: number } | undefined {
  for (let start = from + 1; start + FRAME + BODY_HEAD <= bytes.length; start += 1) {
    const found = recordAt(bytes, start, expected + 1, expected + Math.ceil(bytes.length / FRAME))
    if (found) return { seq: found.record.seq, start }
  }
  return undefined
}

/** Segments are named by their first sequence number. */
export function segmentName(firstSeq: number): string {
  return `${String(firstSeq).padStart(16, '0')}.spool`
}

/** The first sequence number, or undefined when the file is no segment. */
export function firstSeqOf(name: string): number | undefined {
  const digits = /^(\d{16})\.spool$/.exec(name)?.[1]
  return digits === undefined ? undefined : Number(digits)
}
