import { randomBytes } from 'node:crypto'
import { freshDatabaseUrl } from '@caracal/harness'
import pg from 'pg'

/**
 * An empty database as managed Postgres gives it: its owner is no superuser and may create roles, and everybody logs in as that
 * owner. URL of it.
 */
export async function managedDatabaseUrl(): Promise<string> {
  const url = new URL(await freshDatabaseUrl())
  const owner = `owner_${randomBytes(6).toString('hex')}`
  const client = new pg.Client({ connectionString: url.href })
  await client.connect()
  await client.query(`CREATE ROLE ${owner} LOGIN CREATEROLE`)
  await client.query(`ALTER DATABASE ${url.pathname.slice(1)} OWNER TO ${owner}`)
  await client.end()
  url.username = owner
  return url.href
}
