import { sql } from 'kysely'
import type { Queryable } from './database.ts'

/** Whether the server takes no changes: it is a standby, or was made read-only (P-174). */
export async function isReadOnly(db: Queryable): Promise<boolean> {
  const { rows } = await sql<{ readOnly: boolean }>`SELECT current_setting('transaction_read_only') = 'on' AS "readOnly"`.execute(db)
  return rows[0]?.readOnly === true
}
