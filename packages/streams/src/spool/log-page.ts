import { open } from 'node:fs/promises'
import { isCutShort, type SpoolRecord, scanRecords } from './segment.ts'

/** Where reading goes on: the next number, and, if the segment is still the same, where in it which number stands. */
export type LogCursor = {
  readonly seq: number
  readonly place: { readonly path: string; readonly offset: number; readonly number: number } | null
}

/** What is found in the place of events that cannot be read any more. */
export type LostEvents = { readonly lost: number; readonly count: number }

/** In order. `remembered`: it never left this process, so that nobody can have changed it. */
export type LogPage = { readonly found: readonly (SpoolRecord | LostEvents)[]; readonly cursor: LogCursor; readonly remembered: boolean }

export type Stretch = {
  readonly path: string
  readonly start: number
  readonly length: number
  /** The number that stands at `start`. */
  readonly number: number
  readonly lastSeq: number
}

/** Reads a stretch of a segment. `more`: it goes on behind it, and a record that is cut short is left for the next page. */
export async function readStretch({ path, start, length, number, lastSeq }: Stretch, more: boolean): Promise<Omit<LogPage, 'remembered'>> {
  const bytes = await readRange(path, start, length)
  const found: (SpoolRecord | LostEvents)[] = []
  let next = number
  let offset = 0
  for (const item of scanRecords(bytes, number)) {
    if ('lost' in item) {
      if (more && isCutShort(bytes, offset)) break // it only began in these bytes
      found.push({ lost: item.lost, count: item.upTo - item.lost + 1 })
      next = item.upTo + 1
    } else {
      if (item.record.first > lastSeq) break
      found.push(item.record)
      next = item.record.first + item.record.count
    }
    offset = item.end
  }
  if (!more && next <= lastSeq) {
    found.push({ lost: next, count: lastSeq - next + 1 })
    next = lastSeq + 1
  }
  return { found, cursor: { seq: next, place: { path, offset: more ? start + offset : start + length, number: next } } }
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
