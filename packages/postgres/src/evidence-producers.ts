import type { UnixMillis } from '@caracal/core'
import { sql } from 'kysely'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'

/** How far the ledger holds every event of a producer, counted by the producer from 1. */
export type ProducerProgress = { readonly producer: string; readonly confirmedSeq: number; readonly lastSeen: UnixMillis }

/**
 * Records which sequence numbers of a producer the ledger holds now, in the transaction that put them there. What is beyond a
 * gap is remembered and counts once the gap is filled. Returns the number up to which everything is held. To be called in a
 * transaction: the first statement locks the row for the second.
 */
export async function recordProduced(tx: Queryable, producer: string, seqs: readonly number[], now: UnixMillis): Promise<number> {
  if (seqs.length === 0) throw new RangeError('nothing was produced')
  const moment = timestamp(now)
  await sql`
    insert into evidence_producers (producer, last_seen) values (${producer}, ${moment})
    on conflict (producer) do update set last_seen = ${moment}`.execute(tx)
  // `held` always begins with the range that holds 0: its end is the first number that is missing.
  const { rows } = await sql<{ confirmed_seq: number }>`
    update evidence_producers set confirmed_seq = merged.missing - 1,
      ahead = merged.held - int8multirange(int8range(0, merged.missing))
    from (
      select held, upper(first.part) as missing from (
        select (select range_agg(int8range(seq, seq, '[]')) from unnest(${seqs}::bigint[]) as seq)
          + ahead + int8multirange(int8range(0, confirmed_seq, '[]')) as held
        from evidence_producers where producer = ${producer}
      ) as known
      cross join lateral (select part from unnest(held) as part order by lower(part) limit 1) as first
    ) as merged
    where producer = ${producer} returning confirmed_seq`.execute(tx)
  const confirmed = rows[0]?.confirmed_seq
  if (confirmed === undefined) throw new Error(`the producer ${producer} was not recorded`)
  return confirmed
}

/** Every producer that was ever heard of. */
export async function listProducers(db: Queryable): Promise<readonly ProducerProgress[]> {
  const rows = await db.selectFrom('evidence_producers').select(['producer', 'confirmed_seq', 'last_seen']).orderBy('producer').execute()
  return rows.map((row) => ({ producer: row.producer, confirmedSeq: row.confirmed_seq, lastSeen: row.last_seen }))
}
