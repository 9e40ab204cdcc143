import { randomBytes } from 'node:crypto'
import { freshDatabaseUrl } from '@caracal/harness'
import pg from 'pg'
import { afterAll, beforeAll, describe } from 'vitest'
import type { Database } from './database.ts'
import { migrateUp } from './migrate-up.ts'
import { openDatabase } from './open-database.ts'

/** The conformance tests: the same on an embedded and on a real Postgres, each empty at first and migrated. */
export function describeOnBoth(subject: string, tests: (database: () => Database) => void): void {
  describe.each(['embedded', 'server'] as const)(`${subject} (%s)`, (kind) => {
    let database: Database
    beforeAll(async () => {
      database = await openEmpty(kind)
      await migrateUp(database, { app: 'test' })
    })
    afterAll(() => database?.close())
    tests(() => database)
  })
}

export async function openEmpty(kind: Database['kind']): Promise<Database> {
  return await openDatabase(kind === 'embedded' ? { memory: true } : { url: await freshDatabaseUrl() })
}

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
