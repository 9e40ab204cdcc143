import { sql } from 'kysely'
import type { Database } from './database.ts'
import { databaseRole, SERVICE_ROLES } from './service-role.ts'

/**
 * Makes the roles that services act as, and lets the login act as them, as the migrations do: they belong to the server, so that a dump
 * of a database does not have them. Any number of times. Throws what Postgres says when the login may not.
 */
export async function createServiceRoles(database: Database): Promise<void> {
  await database.transaction(async (tx) => {
    for (const role of SERVICE_ROLES.map(databaseRole)) {
      const { rows } = await sql<{ member: boolean }>`
        SELECT pg_has_role(current_user, oid, 'MEMBER') AS member FROM pg_roles WHERE rolname = ${role}`.execute(tx)
      if (rows.length === 0) await sql`CREATE ROLE ${sql.id(role)} NOLOGIN NOINHERIT`.execute(tx)
      if (rows[0]?.member !== true) await sql`GRANT ${sql.id(role)} TO CURRENT_USER`.execute(tx)
    }
  })
}
