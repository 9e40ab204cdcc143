import type { UnixMillis, ZoneId } from '@caracal/core'
import { sql } from 'kysely'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'
import { bucketOf, hasMark, isTypeId, markOfId, millisOfId, termOfId } from './ledger-ids.ts'
import { ID_FIELDS, type SearchedField, SPAN_ENTRIES, spanOf, termArray, termKey, termOf } from './ledger-terms.ts'

/** A block in which something may be found. */
export type Candidate = { readonly firstSeq: number; readonly count: number }

/** Where a search goes on, and which way. `after` is the number of the last entry that was seen. */
export type Place = { readonly order: 'asc' | 'desc'; readonly after: number | undefined }

/** The search has cost enough: everything up to `stoppedAt` (exclusive when descending) was looked through. */
export type Stopped = { readonly stoppedAt: number }

type Times = { readonly from?: UnixMillis | undefined; readonly to?: UnixMillis | undefined }

/** Blocks listed at once when there is nothing but time to choose them by. */
const LISTED = 64
/** Spans looked through for one page, some 67 million entries; and how many are asked for at once in the end. */
const MOST_SPANS = 4_096
const SPANS_AT_ONCE = 512

/**
 * The blocks that may hold what a search wants, in its order, a part at a time. By an id when one is wanted: it says when it was made;
 * otherwise by the terms of all wanted values, span after span; otherwise all blocks of that time.
 */
export async function* candidateBlocks(
  db: Queryable,
  zone: ZoneId,
  times: Times,
  wanted: ReadonlyMap<SearchedField, string>,
  place: Place,
): AsyncGenerator<readonly Candidate[] | Stopped> {
  const id = ID_FIELDS.map((field) => wanted.get(field)).find((value) => value !== undefined && isTypeId(value))
  if (id !== undefined) yield await byId(db, zone, id, place)
  else if (wanted.size > 0) yield* byTerms(db, zone, times, wanted, place)
  else yield* byTime(db, zone, times, place)
}

async function byId(db: Queryable, zone: ZoneId, id: string, { order, after }: Place): Promise<readonly Candidate[]> {
  const near = await withMark(db, zone, id, 'other_ids')
  const far = await sql<{ first_seq: number; count: number }>`
    select first_seq, count from caracal_blocks_of_zone(${zone}, array[${termArray([termOfId(id)])}]) where zone = ${zone}`.execute(db)
  const found = new Map(near.map((one) => [one.firstSeq, one]))
  for (const { first_seq, count } of far.rows) found.set(first_seq, { firstSeq: first_seq, count })
  const ascending = [...found.values()].sort((a, b) => a.firstSeq - b.firstSeq)
  return (order === 'asc' ? ascending : ascending.toReversed()).filter((one) => reaches(one, { order, after }))
}

/** Blocks of the time in which an id was made that have its mark. */
export async function withMark(db: Queryable, zone: ZoneId, id: string, marks: 'event_ids' | 'other_ids'): Promise<readonly Candidate[]> {
  const millis = millisOfId(id)
  const rows = await db
    .selectFrom('log_blocks')
    .select(['first_seq', 'count', marks])
    .where('zone', '=', zone)
    .where('bucket', '=', bucketOf(millis))
    .where('ids_from', '<=', millis)
    .where('ids_to', '>=', millis)
    .execute()
  const mark = markOfId(id)
  return rows.filter((row) => hasMark(row[marks] ?? new Uint8Array(0), mark)).map((row) => ({ firstSeq: row.first_seq, count: row.count }))
}

async function* byTerms(
  db: Queryable,
  zone: ZoneId,
  times: Times,
  wanted: ReadonlyMap<SearchedField, string>,
  place: Place,
): AsyncGenerator<readonly Candidate[] | Stopped> {
  const keys = [...wanted].map(([field, value]) => termKey(zone, field, value))
  const end = await lastBlock(db, zone)
  if (end === undefined) return
  const { order, after } = place
  const up = order === 'asc'
  const lastSpan = spanOf(end.firstSeq)
  // A block may begin in the span before the one of an entry.
  let next = up ? Math.max(0, spanOf((after ?? -1) + 1) - 1) : Math.min(lastSpan, spanOf(Math.max(0, (after ?? end.firstSeq + 1) - 1)))
  for (let asked = 0, many = 1; up ? next <= lastSpan : next >= 0; asked += many, many = Math.min(many * 4, SPANS_AT_ONCE)) {
    if (asked >= MOST_SPANS) {
      const edge = (up ? next : next + 1) * SPAN_ENTRIES
      yield { stoppedAt: await boundary(db, zone, edge, up) }
      return
    }
    const spans: number[] = []
    for (; spans.length < many && (up ? next <= lastSpan : next >= 0); next += up ? 1 : -1) spans.push(next)
    yield await blocksOfSpans(db, zone, times, keys, spans, place)
  }
}

async function blocksOfSpans(
  db: Queryable,
  zone: ZoneId,
  { from, to }: Times,
  keys: readonly bigint[],
  spans: readonly number[],
  place: Place,
): Promise<readonly Candidate[]> {
  const sets = `{${spans.map((span) => `"${termArray(keys.map((key) => termOf(span, key)))}"`).join(',')}}`
  const { rows } = await sql<{ first_seq: number; count: number }>`
    select first_seq, count from caracal_blocks_of_zone(${zone}, ${sets}::text[]) where zone = ${zone}
      and ${from === undefined ? sql`true` : sql`to_time >= ${timestamp(from)}`} and ${to === undefined ? sql`true` : sql`from_time < ${timestamp(to)}`}
    order by first_seq ${sql.raw(place.order)}`.execute(db)
  return rows.map((row) => ({ firstSeq: row.first_seq, count: row.count })).filter((one) => reaches(one, place))
}

async function* byTime(db: Queryable, zone: ZoneId, times: Times, place: Place): AsyncGenerator<readonly Candidate[]> {
  const { order } = place
  let { after } = place
  for (;;) {
    const rows = await blocksOfTime(db, zone, times, { order, after }).execute()
    const last = rows.at(-1)
    if (last === undefined) return
    yield rows.map((row) => ({ firstSeq: row.first_seq, count: row.count }))
    if (rows.length < LISTED) return
    after = order === 'asc' ? last.first_seq + last.count - 1 : last.first_seq
  }
}

/** The statement of a search by time alone; a test looks at its plan. */
export function blocksOfTime(db: Queryable, zone: ZoneId, { from, to }: Times, { order, after }: Place) {
  let query = db.selectFrom('log_blocks').select(['first_seq', 'count']).where('zone', '=', zone)
  if (from !== undefined) query = query.where('to_time', '>=', timestamp(from))
  if (to !== undefined) query = query.where('from_time', '<', timestamp(to))
  if (after !== undefined)
    query = order === 'asc' ? query.where('first_seq', '>=', blockOf(zone, after + 1)) : query.where('first_seq', '<', after)
  return query.orderBy('first_seq', order).limit(LISTED)
}

/** Blocks that hold the entries from `from` (inclusive) to `to` (exclusive), ascending, with their data. */
export function blocksFrom(db: Queryable, zone: ZoneId, from: number, to: number) {
  return db
    .selectFrom('log_blocks')
    .select(['first_seq', 'count', 'codec', 'data'])
    .where('zone', '=', zone)
    .where('first_seq', '>=', blockOf(zone, from))
    .where('first_seq', '<', to)
    .orderBy('first_seq')
}

/** Number of the block that an entry is in, or would be; the entry's own when none begins before it. */
function blockOf(zone: ZoneId, seq: number) {
  return sql<number>`coalesce((select max(first_seq) from log_blocks where zone = ${zone} and first_seq <= ${seq}), ${seq})`
}

async function lastBlock(db: Queryable, zone: ZoneId): Promise<Candidate | undefined> {
  const row = await db
    .selectFrom('log_blocks')
    .select(['first_seq', 'count'])
    .where('zone', '=', zone)
    .orderBy('first_seq', 'desc')
    .limit(1)
    .executeTakeFirst()
  return row === undefined ? undefined : { firstSeq: row.first_seq, count: row.count }
}

/** The cursor at which a search goes on when all blocks that begin before (ascending) or from (descending) `edge` on were looked through. */
async function boundary(db: Queryable, zone: ZoneId, edge: number, up: boolean): Promise<number> {
  const before = await db
    .selectFrom('log_blocks')
    .select(['first_seq', 'count'])
    .where('zone', '=', zone)
    .where('first_seq', '<', edge)
    .orderBy('first_seq', 'desc')
    .limit(1)
    .executeTakeFirst()
  const end = before === undefined ? edge : before.first_seq + before.count
  return up ? end - 1 : end
}

function reaches({ firstSeq, count }: Candidate, { order, after }: Place): boolean {
  return after === undefined || (order === 'asc' ? firstSeq + count - 1 > after : firstSeq < after)
}
