import type { Event, EventId, UnixMillis, ZoneId } from '@caracal/core'
import type { Queryable } from './database.ts'
import { idOfText, openBlock, type StoredBlock, textAt } from './ledger-block.ts'
import { blocksFrom, type Candidate, candidateBlocks, type Place, withMark } from './ledger-candidates.ts'
import { isTypeId } from './ledger-ids.ts'
import { readBlocks } from './ledger-log.ts'
import { MAX_SEARCHED, SEARCHED, type SearchedField, searchedValue } from './ledger-terms.ts'
import type { Page } from './page.ts'

/** One entry: its place in the log and the exact text that was signed and hashed. The id is what the text says. */
export type LogEntry = { readonly seq: number; readonly id: EventId | ''; readonly event: string }

/** All given members must match. Times are those of the events: `from` inclusive, `to` exclusive. */
export type EventFilter = {
  readonly type?: string | undefined
  readonly application?: string | undefined
  readonly session?: string | undefined
  readonly resource?: string | undefined
  readonly decision?: string | undefined
  readonly reason?: string | undefined
  readonly subject?: string | undefined
  readonly jti?: string | undefined
  readonly requestId?: string | undefined
  readonly from?: UnixMillis | undefined
  readonly to?: UnixMillis | undefined
}

/** `after` is a sequence number, so pages neither skip nor repeat while the log grows. Newest first unless `order` says otherwise. */
export type EntriesPage = { readonly after?: number | undefined; readonly limit: number; readonly order?: 'asc' | 'desc' }

/** Most blocks that are opened for one page; then the page ends early, with a cursor to go on from. */
const MOST_OPENED = 512
/** Blocks opened at once: few at first, because the first ones mostly fill the page. */
const FIRST_OPENED = 1
const OPENED_AT_ONCE = 16

/**
 * A page of the entries that match, in the order of the log. A page with a cursor may have fewer than `limit` entries when they are far
 * apart: what one page costs is bounded.
 */
export async function searchEntries(db: Queryable, zone: ZoneId, filter: EventFilter, page: EntriesPage): Promise<Page<LogEntry>> {
  const { order = 'desc', after, limit } = page
  const wanted = wantedOf(filter)
  const found: LogEntry[] = []
  const place: Place = { order, after }
  let opened = 0
  let most = FIRST_OPENED
  for await (const step of candidateBlocks(db, zone, filter, wanted, place)) {
    if ('stoppedAt' in step) return { items: found, next: String(step.stoppedAt) }
    for (let at = 0; at < step.length; ) {
      const part = step.slice(at, at + most)
      at += part.length
      most = Math.min(most * 2, OPENED_AT_ONCE)
      for (const block of await inOrder(db, zone, part, order)) {
        opened += 1
        for (const entry of matching(block, wanted, filter, place)) {
          if (found.length === limit) return { items: found, next: String(found.at(-1)?.seq) }
          found.push(entry)
        }
      }
      const last = part.at(-1)
      if (opened >= MOST_OPENED && last !== undefined)
        return { items: found, next: String(order === 'asc' ? last.firstSeq + last.count - 1 : last.firstSeq) }
    }
  }
  return { items: found, next: null }
}

async function inOrder(db: Queryable, zone: ZoneId, part: readonly Candidate[], order: 'asc' | 'desc'): Promise<readonly StoredBlock[]> {
  const blocks = await readBlocks(
    db,
    zone,
    part.map(({ firstSeq }) => firstSeq),
  )
  return order === 'asc' ? blocks : blocks.toReversed()
}

/** The fields a filter asks for, with the values as they are compared. */
function wantedOf({ requestId, from: _from, to: _to, ...words }: EventFilter): ReadonlyMap<SearchedField, string> {
  const wanted = new Map<SearchedField, string>()
  for (const [field, value] of Object.entries({ ...words, request_id: requestId })) {
    if (value !== undefined) wanted.set(field as SearchedField, searchedValue(value))
  }
  return wanted
}

/** Entries of a block that match, in the order asked for. */
function* matching(
  block: StoredBlock,
  wanted: ReadonlyMap<SearchedField, string>,
  { from, to }: EventFilter,
  { order, after }: Place,
): Generator<LogEntry> {
  const opened = openBlock(block)
  const { raw } = opened
  const places = placesOf(opened, needlesOf(raw, wanted))
  for (const at of order === 'asc' ? places : places.toReversed()) {
    const seq = block.first_seq + at
    if (after !== undefined && (order === 'asc' ? seq <= after : seq >= after)) continue
    const exact = textAt(opened, at)
    const event = eventOf(exact)
    if (event === undefined) continue
    let fits = true
    for (const [field, value] of wanted) {
      const found = SEARCHED[field](event)
      fits &&= found !== undefined && found !== null && searchedValue(found) === value
    }
    const time = from === undefined && to === undefined ? 0 : microsecondsOf(event.time)
    fits &&= (from === undefined || time >= microseconds(from)) && (to === undefined || time < microseconds(to))
    if (fits) yield { seq, id: event.id, event: exact }
  }
}

/** What few events have comes first: it is looked for in the whole block, the others only where it was found. */
const RAREST_FIRST: readonly SearchedField[] = [
  'request_id',
  'jti',
  'session',
  'subject',
  'reason',
  'application',
  'resource',
  'decision',
  'type',
]

/**
 * Bytes that the text of every match has, to leave out the others without parsing them. JSON may spell a character as `\u0041`, and `/` as
 * `\/`: a block with either is parsed whole, as it is for values that were cut.
 */
function needlesOf(raw: Buffer, wanted: ReadonlyMap<SearchedField, string>): readonly Buffer[] {
  if (wanted.size === 0 || raw.includes('\\u') || raw.includes('\\/')) return []
  const values = RAREST_FIRST.flatMap((field) => wanted.get(field) ?? [])
  return values
    .filter((value) => value.length < MAX_SEARCHED && !value.includes('\ufffd'))
    .map((value) => Buffer.from(JSON.stringify(value)))
}

/** Which events of a block have all needles, ascending. */
function placesOf(
  { raw, starts }: { readonly raw: Buffer; readonly starts: readonly number[] },
  [first, ...others]: readonly Buffer[],
): number[] {
  if (first === undefined) return [...starts.keys()]
  const places: number[] = []
  for (let found = raw.indexOf(first), at = 0; found >= 0; found = raw.indexOf(first, starts[at])) {
    while ((starts[at + 1] ?? raw.length) <= found) at += 1
    const text = raw.subarray(starts[at], starts[at + 1] ?? raw.length)
    if (others.every((needle) => text.includes(needle))) places.push(at)
    at += 1
    if (at === starts.length) break
  }
  return places
}

function eventOf(text: string): Event | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Event) : undefined
  } catch {
    return undefined // changed in the store: verification says so, and search goes on
  }
}

/** Whole microseconds: fractions of milliseconds do not compare exactly. */
function microseconds(ms: UnixMillis): number {
  return Math.round(ms * 1_000)
}

function microsecondsOf(time: unknown): number {
  if (typeof time !== 'string') return Number.NaN
  const fraction = /\.(\d{1,6})/.exec(time)?.[1] ?? ''
  return Date.parse(time.slice(0, 19).concat('Z')) * 1_000 + Number(fraction.padEnd(6, '0'))
}

export async function findEntry(db: Queryable, zone: ZoneId, id: EventId): Promise<LogEntry | undefined> {
  if (!isTypeId(id)) return undefined
  const candidates = await withMark(db, zone, id, 'event_ids')
  for (const block of await readBlocks(
    db,
    zone,
    candidates.map(({ firstSeq }) => firstSeq),
  )) {
    const opened = openBlock(block)
    for (let at = 0; at < opened.starts.length; at += 1) {
      const text = textAt(opened, at)
      if (!text.includes(id)) continue
      if (idOfText(text) === id) return { seq: block.first_seq + at, id, event: text }
    }
  }
  return undefined
}

/**
 * Entries from `from` (inclusive) to `to` (exclusive), ascending: for verification and export, a part at a time.
 * @throws BlockBroken when a block is not what was appended.
 */
export async function readEntries(db: Queryable, zone: ZoneId, from: number, to: number): Promise<readonly LogEntry[]> {
  const entries: LogEntry[] = []
  for (const block of await blocksFrom(db, zone, from, to).execute()) {
    const opened = openBlock(block)
    for (let at = Math.max(0, from - block.first_seq); at < block.count && block.first_seq + at < to; at += 1) {
      const event = textAt(opened, at)
      entries.push({ seq: block.first_seq + at, id: idOfText(event), event })
    }
  }
  return entries
}
