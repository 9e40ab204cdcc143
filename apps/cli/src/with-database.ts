import { type Database, openDatabase } from '@caracal/postgres'
import { trustBundle } from './commands/preflight.ts'
import { databaseError } from './database-error.ts'
import { databaseLogin } from './database-login.ts'

/** Runs `work` on the database that `DB_*` or `DATABASE_URL` name; what fails is told in words. */
export async function withDatabase(env: NodeJS.ProcessEnv, work: (database: Database) => Promise<void>): Promise<void> {
  const { url, place } = databaseLogin(env)
  trustBundle(env)
  try {
    const database = await openDatabase({ url })
    try {
      await work(database)
    } finally {
      await database.close()
    }
  } catch (error) {
    throw databaseError(error, place) ?? error
  }
}
