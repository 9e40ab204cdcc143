import { freshDatabaseUrl } from '@caracal/harness'
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
