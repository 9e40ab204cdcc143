import type { Database } from '@caracal/postgres'
import { sql } from 'kysely'
import type { StoreStanding } from './streams.ts'

/** Clock, and whether transactions may write: not on a standby, nor when somebody made the server read-only (P-174). */
export async function standingOfPostgres(database: Database): Promise<StoreStanding> {
  const { rows } = await sql<{ at: number; readOnly: boolean }>`
    SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS at, current_setting('transaction_read_only') = 'on' AS "readOnly"`.execute(
    database.query,
  )
  const [row] = rows
  if (row === undefined) throw new Error('Postgres said nothing of itself')
  return { at: row.at, refuses: row.readOnly ? 'store_read_only' : null, usedRatio: null, memory: null }
}
