import { sql } from 'kysely'
import type { Queryable } from './database.ts'

/** How many connections the server takes for everybody, those that only a superuser gets not counted. */
export async function readMaxConnections(db: Queryable): Promise<number> {
  const { rows } = await sql<{ most: number }>`
    SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS most`.execute(db)
  return rows[0]?.most ?? 0
}
