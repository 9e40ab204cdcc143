import type { UnixMillis } from '@caracal/core'
import { sql } from 'kysely'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'

/** How far the ledger holds every event of a producer, counted by the producer from 1. */
export type ProducerProgress = { readonly producer: string; readonly confirmedSeq: number; readonly lastSeen: UnixMillis }

/**
 * Records which sequence numbers of producers the ledger holds now, after the commit that put them there; one statement for all.
 * What is beyond a gap is remembered and counts once the gap is filled. Returns for each producer the number up to which everything
 * is held. The rows are taken in one order, so that two callers never wait on each other crosswise.
 */
export async function recordProduced(
  db: Queryable,
  produced: ReadonlyMap<string, readonly number[]>,
  now: UnixMillis,
): Promise<ReadonlyMap<string, number>> {
  const named = [...produced].filter(([, seqs]) => seqs.length > 0)
  if (named.length === 0) return new Map()
  const moment = timestamp(now)
  // Everything from 0 on that is held: the first range begins at 0, its end is the first number that is missing.
  const { rows } = await sql<{ producer: string; confirmed_seq: number }>`
    insert into evidence_producers as known (producer, confirmed_seq, ahead, last_seen)
    select producer, missing - 1, held - int8multirange(int8range(0, missing)), ${moment}
    from unnest(${named.map(([producer]) => producer)}::text[], ${named.map(([, seqs]) => rangesOf(seqs))}::text[]) as given (producer, ranges)
    cross join lateral (select ranges::int8multirange + '{[0,0]}'::int8multirange as held) as all_held
    cross join lateral (select upper(part) as missing from unnest(held) as part order by lower(part) limit 1) as first
    order by producer collate "C"
    on conflict (producer) do update set (confirmed_seq, ahead, last_seen) = (
      select missing - 1, held - int8multirange(int8range(0, missing)), greatest(known.last_seen, excluded.last_seen)
      from (
        select known.ahead + excluded.ahead + int8multirange(int8range(0, known.confirmed_seq, '[]'), int8range(0, excluded.confirmed_seq, '[]')) as held
      ) as all_held
      cross join lateral (select upper(part) as missing from unnest(held) as part order by lower(part) limit 1) as first
    )
    returning producer, confirmed_seq`.execute(db)
  if (rows.length !== named.length) throw new Error('a producer was not recorded')
  return new Map(rows.map((row) => [row.producer, row.confirmed_seq]))
}

/** Numbers as an `int8multirange`: those that follow each other are one range. */
function rangesOf(seqs: readonly number[]): string {
  const ranges: string[] = []
  let first: number | undefined
  let last = 0
  for (const seq of [...seqs].sort((a, b) => a - b)) {
    if (first !== undefined && seq <= last + 1) {
      last = seq
      continue
    }
    if (first !== undefined) ranges.push(`[${first},${last}]`)
    first = seq
    last = seq
  }
  ranges.push(`[${first},${last}]`)
  return `{${ranges.join(',')}}`
}

/** Every producer that was ever heard of. */
export async function listProducers(db: Queryable): Promise<readonly ProducerProgress[]> {
  const rows = await db.selectFrom('evidence_producers').select(['producer', 'confirmed_seq', 'last_seen']).orderBy('producer').execute()
  return rows.map((row) => ({ producer: row.producer, confirmedSeq: row.confirmed_seq, lastSeen: row.last_seen }))
}
