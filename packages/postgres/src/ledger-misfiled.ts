import type { Event, ZoneId } from '@caracal/core'
import { sql } from 'kysely'
import type { Queryable } from './database.ts'
import { type Findable, findableBy, openBlock, type StoredBlock, textAt } from './ledger-block.ts'
import { bucketOf, decodeMarks, millisOfId } from './ledger-ids.ts'
import { spanOf, termOf } from './ledger-terms.ts'

type Filed = StoredBlock & {
  readonly bucket: number
  readonly from_time: string
  readonly to_time: string
  readonly ids_from: number
  readonly ids_to: number
  readonly event_ids: Uint8Array
  readonly other_ids: Uint8Array
  readonly terms: string
}

/**
 * Blocks that begin in [from, to) and are found by something else than their events say: whoever changes that hides events from
 * searches, or lets one in again under its old id. Numbers of their first entries. The texts themselves are for the tree to verify.
 * @throws BlockBroken
 */
export async function misfiledBlocks(db: Queryable, zone: ZoneId, from: number, to: number): Promise<readonly number[]> {
  const { rows } = await sql<Filed>`
    select first_seq, count, codec, data, bucket, ids_from, ids_to, event_ids, other_ids, array_to_string(terms, ',') as terms,
      to_char(from_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as from_time,
      to_char(to_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as to_time
    from log_blocks where zone = ${zone} and first_seq >= ${from} and first_seq < ${to} order by first_seq`.execute(db)
  return rows.filter((row) => !isFiledRight(zone, row)).map((row) => row.first_seq)
}

function isFiledRight(zone: ZoneId, row: Filed): boolean {
  const opened = openBlock(row)
  let found: Findable
  try {
    const events = opened.starts.map((_, at) => JSON.parse(textAt(opened, at)) as Event)
    if (events.some(({ id }) => bucketOf(millisOfId(id)) !== row.bucket)) return false
    found = findableBy(zone, row.bucket, events)
  } catch {
    return false // a text that is no event cannot have been appended
  }
  const span = spanOf(row.first_seq)
  const terms = new Set([...[...found.keys].map((key) => termOf(span, key)), ...found.farIds].map(String))
  const filed = new Set(row.terms === '' ? [] : row.terms.split(','))
  return (
    found.fromTime === row.from_time &&
    found.toTime === row.to_time &&
    found.idsFrom === row.ids_from &&
    found.idsTo === row.ids_to &&
    found.eventMarks.join() === decodeMarks(row.event_ids).join() &&
    found.otherMarks.symmetricDifference(new Set(decodeMarks(row.other_ids))).size === 0 &&
    terms.symmetricDifference(filed).size === 0
  )
}
