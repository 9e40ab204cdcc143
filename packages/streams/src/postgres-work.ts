import type { WorkStream } from '@caracal/core'
import type { Database } from '@caracal/postgres'
import { sql } from 'kysely'
import { WAKE_CHANNEL, type Wake } from './postgres-wake.ts'
import type { Quarantined, StreamHealth, Streams } from './streams.ts'
import type { SealedWork, Settlement, WorkSource, WorkTiming } from './work-reader.ts'

const LOOK_MS = 1_000

type Row = {
  readonly id: number
  readonly partition: string
  readonly payload: string
  readonly key_id: string
  readonly mac: string
  readonly deliveries: number
}

type Options = {
  readonly database: Database
  readonly wake: Wake
  readonly stream: WorkStream
  readonly consumer: string
  readonly timing: WorkTiming
}

/** One consumer. A delivery is a lease on the row; what is done is deleted. */
export function postgresWorkSource({ database, wake, stream, consumer, timing }: Options): WorkSource {
  const lease = sql`${timing.reclaimMs} * interval '1 millisecond'`
  const waiting = new AbortController()

  async function lock(max: number): Promise<readonly SealedWork[]> {
    const { rows } = await sql<Row>`
      UPDATE stream_work SET deliveries = deliveries + 1, consumer = ${consumer}, available_at = now() + ${lease}
      WHERE id IN (
        SELECT id FROM stream_work WHERE stream = ${stream} AND available_at <= now() ORDER BY id LIMIT ${max} FOR UPDATE SKIP LOCKED
      )
      RETURNING id, partition, payload, key_id, mac, deliveries`.execute(database.query)
    return rows
      .toSorted((a, b) => a.id - b.id)
      .map(({ id, partition, payload, key_id: key, mac, deliveries }) => {
        return { position: String(id), partition, payload, deliveries, seal: { key, mac } }
      })
  }

  return {
    take: async (max, signal) => {
      const count = wake.count(stream)
      const found = await lock(max)
      if (found.length > 0) return found
      await wake.until(stream, count, Math.min(LOOK_MS, timing.reclaimMs / 3), AbortSignal.any([signal, waiting.signal]))
      return signal.aborted ? [] : await lock(max)
    },
    keep: async (messages) => {
      await sql`UPDATE stream_work SET available_at = now() + ${lease}
        WHERE id = ANY (${ids(messages)}::bigint[]) AND consumer = ${consumer}`.execute(database.query)
    },
    settle: async ({ done, retry, quarantine }) => {
      if (retry.length === 0 && quarantine.length === 0) return await remove(database, done)
      await database.transaction(async (tx) => {
        await remove({ query: tx }, done)
        await sql`
          UPDATE stream_work SET available_at = now() + pause * interval '1 millisecond'
          FROM unnest(${retry.map((r) => r.message.position)}::bigint[], ${retry.map((r) => r.afterMs)}::float8[]) AS again (id, pause)
          WHERE stream_work.id = again.id AND consumer = ${consumer}`.execute(tx)
        await setAside({ query: tx }, quarantine)
      })
    },
    surrender: async (messages) => {
      await sql`UPDATE stream_work SET available_at = now(), deliveries = deliveries - 1
        WHERE id = ANY (${ids(messages)}::bigint[]) AND consumer = ${consumer}`.execute(database.query)
    },
    interrupt: () => waiting.abort(),
  }
}

async function remove(database: { readonly query: Database['query'] }, messages: readonly SealedWork[]): Promise<void> {
  if (messages.length === 0) return
  await sql`DELETE FROM stream_work WHERE id = ANY (${ids(messages)}::bigint[])`.execute(database.query)
}

/** Moves rows as they are, with the seal they came with; a row that is gone is not set aside twice. */
async function setAside(database: { readonly query: Database['query'] }, quarantine: Settlement['quarantine']): Promise<void> {
  await sql`
    WITH wanted AS (
      SELECT * FROM unnest(${quarantine.map((q) => q.message.position)}::bigint[], ${quarantine.map((q) => q.reason)}::text[]) AS want (id, reason)
    ), taken AS (
      DELETE FROM stream_work USING wanted WHERE stream_work.id = wanted.id
      RETURNING stream_work.*, wanted.reason
    )
    INSERT INTO stream_quarantine (stream, partition, payload, key_id, mac, reason)
    SELECT stream, partition, payload, key_id, mac, reason FROM taken ORDER BY id`.execute(database.query)
}

export async function healthInPostgres(database: Database, stream: WorkStream): Promise<StreamHealth> {
  const { rows } = await sql<{ lag: number; oldest: number; quarantined: number }>`
    SELECT count(*) AS lag, coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS oldest,
           (SELECT count(*) FROM stream_quarantine WHERE stream = ${stream}) AS quarantined
    FROM stream_work WHERE stream = ${stream}`.execute(database.query)
  const [row] = rows
  return { lag: row?.lag ?? 0, oldestPendingSeconds: Math.max(0, row?.oldest ?? 0), quarantined: row?.quarantined ?? 0 }
}

/** List, redrive and discard by id (P-113). */
export function postgresQuarantine(database: Database): Streams['quarantine'] {
  return {
    list: async (stream, limit) => {
      const { rows } = await sql<{ id: number; partition: string; payload: string; reason: string; created_at: number }>`
        SELECT id, partition, payload, reason, created_at FROM stream_quarantine WHERE stream = ${stream} ORDER BY id LIMIT ${limit}`.execute(
        database.query,
      )
      return rows.map(({ id, partition, payload, reason, created_at: at }): Quarantined => {
        return { id: String(id), stream, partition, payload, reason, at }
      })
    },
    redrive: async (stream, id) => {
      if (!isRowId(id)) return false
      const { rows } = await sql`
        WITH taken AS (DELETE FROM stream_quarantine WHERE stream = ${stream} AND id = ${id}::bigint RETURNING *), added AS (
          INSERT INTO stream_work (stream, partition, payload, key_id, mac) SELECT stream, partition, payload, key_id, mac FROM taken
        )
        SELECT pg_notify(${WAKE_CHANNEL}, stream) FROM taken`.execute(database.query)
      return rows.length > 0
    },
    discard: async (stream, id) => {
      if (!isRowId(id)) return false
      const { rows } = await sql`DELETE FROM stream_quarantine WHERE stream = ${stream} AND id = ${id}::bigint RETURNING id`.execute(
        database.query,
      )
      return rows.length > 0
    },
  }
}

/** Ids come from callers: what is none would be an error of Postgres. */
function isRowId(id: string): boolean {
  return /^\d{1,18}$/.test(id)
}

function ids(messages: readonly SealedWork[]): string[] {
  return messages.map((message) => message.position)
}
