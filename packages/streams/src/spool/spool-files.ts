import { randomBytes } from 'node:crypto'
import { open, readdir, readFile, rename, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import type { StreamLogger } from '../stream-logger.ts'
import { firstSeqOf, SEGMENT_HEADER, scanRecords, segmentName } from './segment.ts'

/** A segment as it stands on the volume: the events `firstSeq` to `lastSeq` in its first `length` bytes. */
export type Segment = { readonly firstSeq: number; readonly path: string; length: number; lastSeq: number }

/** Reads the name of the producer, made at the first start: role and 64 random bits. It stays with the volume. */
export async function producerOf(dir: string, role: string): Promise<string> {
  const path = join(dir, 'producer')
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
  }
  if ((await readdir(dir)).some((name) => firstSeqOf(name) !== undefined)) {
    throw new Error(`${dir} holds evidence but not the name of its producer (the file "producer"): it is not ours to number on`)
  }
  const producer = `${role}-${randomBytes(8).toString('hex')}`
  await writeDurably(path, producer)
  await syncDirectory(dir)
  return producer
}

/**
 * Finds the segments of a directory, oldest first, after whatever stopped the process before. The tail of the last one is cut
 * to its last whole record; what an older one holds of numbers that a newer one begins with was never acknowledged, and what
 * it does not hold of those before is lost.
 * @throws Error when a segment is of another version.
 */
export async function recoverSegments(dir: string, logger: StreamLogger): Promise<Segment[]> {
  const firsts = (await readdir(dir)).flatMap((name) => firstSeqOf(name) ?? []).sort((a, b) => a - b)
  const segments: Segment[] = []
  for (const [at, firstSeq] of firsts.entries()) {
    const path = join(dir, segmentName(firstSeq))
    const bytes = await readFile(path)
    const version = /^caracal spool \d+\n/.exec(bytes.toString('latin1', 0, 32))?.[0] ?? ''
    if (version !== '' && version !== String(SEGMENT_HEADER)) throw new Error(`${path} was written by another version: "${version.trim()}"`)
    const after = firsts[at + 1]
    const found = measure(bytes, firstSeq, after ?? Number.POSITIVE_INFINITY, (lost) =>
      logger.error({ path, ...lost }, 'records of the spool are damaged and lost'),
    )
    if (found.length < bytes.length) {
      // Zeros were never written over: the place was only held.
      const tail = bytes.subarray(found.length)
      if (tail.some((byte) => byte !== 0))
        logger.warn({ path, bytes: tail.length, after: found.lastSeq }, 'a torn tail of the spool is cut')
      await cut(path, found.length)
    }
    if (after !== undefined && found.lastSeq < after - 1) {
      logger.error({ path, from: found.lastSeq + 1, to: after - 1 }, 'records of the spool are damaged and lost')
      found.lastSeq = after - 1
    }
    if (bytes.length < SEGMENT_HEADER.length) await writeDurably(path, SEGMENT_HEADER)
    segments.push({ firstSeq, path, ...found, length: Math.max(found.length, SEGMENT_HEADER.length) })
  }
  return segments
}

function measure(
  bytes: Buffer,
  firstSeq: number,
  before: number,
  onLost: (lost: { from: number; to: number }) => void,
): { length: number; lastSeq: number } {
  let length = Math.min(bytes.length, SEGMENT_HEADER.length)
  let lastSeq = firstSeq - 1
  for (const found of scanRecords(bytes.subarray(SEGMENT_HEADER.length), firstSeq)) {
    if ('lost' in found) {
      onLost({ from: found.lost, to: found.upTo })
      continue
    }
    if (found.record.first >= before) break
    length = SEGMENT_HEADER.length + found.end
    lastSeq = found.record.first + found.record.count - 1
  }
  return { length, lastSeq }
}

async function cut(path: string, length: number): Promise<void> {
  await truncate(path, length)
  const file = await open(path, 'r+')
  try {
    await file.datasync()
  } finally {
    await file.close()
  }
}

/** Complete or not at all. */
export async function writeDurably(path: string, content: string | Buffer): Promise<void> {
  const file = await open(`${path}.new`, 'w', 0o600)
  try {
    await file.writeFile(content)
    await file.datasync()
  } finally {
    await file.close()
  }
  await rename(`${path}.new`, path)
}

/** Makes names in a directory durable. */
export async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
