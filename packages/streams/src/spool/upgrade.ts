import { link, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { type EvidenceGroup, MAX_GROUP_BYTES, MAX_GROUP_EVENTS, type VerifiedEvidence } from '../evidence/evidence-payload.ts'
import type { StreamLogger } from '../stream-logger.ts'
import { encodeRecord, firstSeqOf, SEGMENT_HEADER, segmentName } from './segment.ts'
import { syncDirectory, writeDurably } from './spool-files.ts'

const OLD_HEADER = 'caracal spool 1\n'
/** Length of the body and its CRC-32, both 32 bits; then number (64 bits) and length of the partition (16 bits). */
const FRAME = 8
const BODY_HEAD = 10
const MAX_OLD_RECORD_BYTES = 256 * 1024

export type Upgrade = {
  readonly dir: string
  readonly producer: string
  readonly logger: StreamLogger
  readonly seal: (group: EvidenceGroup) => string
  readonly open: (payload: string) => VerifiedEvidence
}

/**
 * Writes segments of version 1 (one record and one MAC for each event) as segments of this version, under their names and with
 * their numbers. Each is replaced by one rename of a whole file, so that a crash leaves every segment in the one or the other version,
 * and the next start goes on. An event whose MAC does not verify is not taken over: its number is said to be lost, and the old
 * segment stays beside the new one as `<name>.unverified` for whoever looks into it.
 */
export async function upgradeSegments(upgrade: Upgrade): Promise<void> {
  const { dir, logger } = upgrade
  const firsts = (await readdir(dir)).flatMap((name) => firstSeqOf(name) ?? []).sort((a, b) => a - b)
  for (const [at, first] of firsts.entries()) {
    const path = join(dir, segmentName(first))
    const bytes = await readFile(path)
    if (bytes.toString('latin1', 0, OLD_HEADER.length) !== OLD_HEADER) continue
    // What an older segment holds of the numbers of a newer one was never acknowledged.
    const { events, bad } = oldEvents(bytes, first, firsts[at + 1] ?? Number.POSITIVE_INFINITY, upgrade)
    if (bad > 0) await keepBeside(path)
    await writeDurably(path, Buffer.concat([SEGMENT_HEADER, ...sealedAnew(events, first, upgrade)]))
    await syncDirectory(dir)
    logger.info({ path, events: events.length, unverified: bad }, 'a segment of the spool was taken over from version 1')
  }
}

/** The events of a segment from its first number on, without a hole: `''` is one that is lost. */
function oldEvents(bytes: Buffer, first: number, before: number, { producer, open, logger }: Upgrade): { events: string[]; bad: number } {
  const events: string[] = []
  let bad = 0
  for (const { seq, payload } of oldRecords(bytes, first)) {
    if (seq >= before) break
    if (seq > first + events.length) {
      logger.error({ from: first + events.length, to: seq - 1 }, 'records of the spool are damaged and lost')
      while (first + events.length < seq) events.push('')
    }
    const opened = open(payload)
    const [group] = opened.ok ? opened.value : []
    if (group?.producer === producer && group.first === seq && group.events.length === 1) events.push(...group.events)
    else {
      logger.error({ seq, problem: opened.ok ? 'not_its_own' : opened.problem }, 'evidence of version 1 does not verify; it is lost')
      events.push('')
      bad += 1
    }
  }
  return { events, bad }
}

/**
 * The one place where evidence that was made before is sealed anew: a group has one MAC, and version 1 made one for each event.
 * Every event that comes here was verified by its own, or is declared lost.
 */
function sealedAnew(events: readonly string[], first: number, { producer, seal }: Upgrade): Buffer[] {
  const records: Buffer[] = []
  for (let done = 0; done < events.length; ) {
    let count = 0
    for (let bytes = 0; count < MAX_GROUP_EVENTS && done + count < events.length; count += 1) {
      bytes += Buffer.byteLength(events[done + count] ?? '') + 1
      if (count > 0 && bytes > MAX_GROUP_BYTES) break
    }
    const group = { producer, first: first + done, events: events.slice(done, done + count) }
    records.push(encodeRecord({ first: group.first, count, payload: seal(group) }))
    done += count
  }
  return records
}

/** Whole records in ascending order; what is damaged between them is passed over byte by byte. */
function* oldRecords(bytes: Buffer, first: number): Generator<{ readonly seq: number; readonly payload: string }> {
  let next = first
  for (let at = OLD_HEADER.length; at + FRAME + BODY_HEAD <= bytes.length; ) {
    const length = bytes.readUInt32BE(at)
    const end = at + FRAME + length
    const seq = Number(bytes.readBigUInt64BE(at + FRAME))
    const body = bytes.subarray(at + FRAME, end)
    // Numbers that the bytes have no room for, and a body with another sum, are no record.
    const fits = length >= BODY_HEAD && length <= MAX_OLD_RECORD_BYTES && end <= bytes.length && seq >= next && seq < next + bytes.length
    const payloadAt = fits ? BODY_HEAD + body.readUInt16BE(8) : 0
    if (!fits || payloadAt > length || crc32(body) !== bytes.readUInt32BE(at + 4)) {
      at += 1
      continue
    }
    yield { seq, payload: body.toString('utf8', payloadAt) }
    at = end
    next = seq + 1
  }
}

/** A second name for the same file. */
async function keepBeside(path: string): Promise<void> {
  await rm(`${path}.unverified`, { force: true })
  await link(path, `${path}.unverified`)
}
