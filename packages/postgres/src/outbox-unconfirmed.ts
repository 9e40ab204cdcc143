import { createHash } from 'node:crypto'
import type { WorkStream } from '@caracal/core'
import { sql } from 'kysely'
import type { Queryable } from './database.ts'

/** A message of a work stream that the stream store took and that nobody has confirmed yet. */
export type UnconfirmedMessage = { readonly partition: string; readonly payload: string }

/**
 * Keeps messages of the outbox that are about to be published until they are confirmed (P-099). Before, because who consumes them may
 * confirm them before their publisher knows that they are published.
 */
export async function keepUnconfirmed(db: Queryable, ids: readonly number[]): Promise<void> {
  if (ids.length === 0) return
  await sql`
    INSERT INTO outbox_unconfirmed (digest, stream, aggregate, payload)
    SELECT sha256(convert_to(payload, 'UTF8')), stream, aggregate, payload FROM outbox WHERE id = ANY (${ids}::bigint[])
    ON CONFLICT (digest) DO UPDATE SET sent_at = now()`.execute(db)
}

/** Whoever consumes the stream holds what these messages carry: they need not come again. */
export async function confirmMessages(db: Queryable, payloads: readonly string[]): Promise<void> {
  if (payloads.length === 0) return
  const digests = payloads.map((payload) => createHash('sha256').update(payload, 'utf8').digest())
  await sql`DELETE FROM outbox_unconfirmed WHERE digest = ANY (${digests}::bytea[])`.execute(db)
}

/** Age of the message that waits longest for its confirmation; 0 when none does. Seconds. */
export async function oldestUnconfirmed(db: Queryable, stream: WorkStream): Promise<number> {
  const { rows } = await sql<{ seconds: number }>`
    SELECT coalesce(extract(epoch FROM now() - min(sent_at)), 0)::float8 AS seconds
    FROM outbox_unconfirmed WHERE stream = ${stream}`.execute(db)
  return rows[0]?.seconds ?? 0
}

/** Messages sent longer ago than that, oldest first, for whoever sends them again: nobody else gets them in the same time. */
export async function takeUnconfirmed(
  db: Queryable,
  stream: WorkStream,
  olderThanSeconds: number,
  limit: number,
): Promise<readonly UnconfirmedMessage[]> {
  const { rows } = await sql<UnconfirmedMessage>`
    UPDATE outbox_unconfirmed SET sent_at = now()
    WHERE digest IN (
      SELECT digest FROM outbox_unconfirmed
      WHERE stream = ${stream} AND sent_at < now() - ${olderThanSeconds} * interval '1 second'
      ORDER BY sent_at LIMIT ${limit} FOR UPDATE SKIP LOCKED
    )
    RETURNING aggregate AS partition, payload`.execute(db)
  return rows
}
