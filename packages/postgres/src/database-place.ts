import { sql } from 'kysely'
import type { Queryable } from './database.ts'

/**
 * Names this database on this server: a copy that was restored from a dump has another name, a standby that was promoted has the same.
 */
export async function databasePlace(db: Queryable): Promise<string> {
  const { rows } = await sql<{ place: string }>`
    SELECT (SELECT system_identifier FROM pg_control_system()) || '/' || oid AS place FROM pg_database WHERE datname = current_database()`.execute(
    db,
  )
  const [row] = rows
  if (row === undefined) throw new Error('the database does not say what it is')
  return row.place
}
