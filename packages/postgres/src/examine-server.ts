import type { UnixMillis } from '@caracal/core'
import { sql } from 'kysely'
import type { Queryable } from './database.ts'
import { databaseRole, SERVICE_ROLES } from './service-role.ts'

/** What a server says of itself and of who asks; nothing is changed. */
export type ServerFacts = {
  /** As `server_version_num`: 150004. */
  readonly version: number
  readonly user: string
  readonly database: string
  readonly tls: boolean
  /** The role may make tables in the schema it would make them in. */
  readonly mayCreate: boolean
  /** The roles of the services are there, or this role may make them. */
  readonly rolesOrMayMakeThem: boolean
  readonly readOnly: boolean
  /** The server's clock. */
  readonly at: UnixMillis
}

/** One round trip. Throws what the driver throws. */
export async function examineServer(db: Queryable): Promise<ServerFacts> {
  const { rows } = await sql<ServerFacts>`
    SELECT current_setting('server_version_num')::int AS version, current_user::text AS user, current_database()::text AS database,
           coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS tls,
           coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS "mayCreate",
           (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user)
             OR (SELECT count(*) FROM pg_roles WHERE rolname = ANY (${SERVICE_ROLES.map(databaseRole)}::text[])) = ${SERVICE_ROLES.length} AS "rolesOrMayMakeThem",
           current_setting('transaction_read_only') = 'on' AS "readOnly",
           (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS at`.execute(db)
  const [facts] = rows
  if (facts === undefined) throw new Error('Postgres said nothing of itself')
  return facts
}
