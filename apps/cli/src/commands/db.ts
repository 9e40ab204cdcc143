import { type Database, initDatabase, migrateUp, migrationStatus, openDatabase } from '@caracal/postgres'
import { CliError } from '../cli-error.ts'
import { type DatabasePart, databaseError, partOfUrl, placeOf } from '../database-error.ts'
import { table } from '../output.ts'
import { readSecretFile } from '../secret-file.ts'
import type { CommandContext } from './command.ts'

const PARTS: Readonly<Record<DatabasePart, string>> = {
  url: 'DB_HOST and DB_SSLMODE',
  host: 'DB_HOST',
  port: 'DB_PORT',
  user: 'DB_USER',
  password: 'DB_PASSWORD',
  database: 'DB_NAME',
  tls: 'DB_SSLMODE',
}

/** `DATABASE_URL[_FILE]`, or `DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD[_FILE], DB_SSLMODE`; both is an error. */
export function databaseUrl(env: NodeJS.ProcessEnv): string {
  const url = valueOrFile(env, 'DATABASE_URL')
  if (url !== undefined && env.DB_HOST) throw new CliError('DATABASE_URL and DB_HOST are both set.', 'Set one of them.', { exitCode: 2 })
  if (url !== undefined) return url
  if (!env.DB_HOST)
    throw new CliError('No database is named.', 'Set DATABASE_URL, or DB_HOST, DB_PORT, DB_NAME, DB_USER and DB_PASSWORD.', { exitCode: 2 })
  const port = env.DB_PORT ?? '5432'
  if (!/^\d{1,5}$/.test(port)) throw new CliError('DB_PORT is not a port.', undefined, { exitCode: 2 })
  const user = encodeURIComponent(env.DB_USER ?? 'caracal')
  const password = valueOrFile(env, 'DB_PASSWORD')
  const credentials = password === undefined ? user : `${user}:${encodeURIComponent(password)}`
  const sslMode = env.DB_SSLMODE ? `?sslmode=${encodeURIComponent(env.DB_SSLMODE)}` : ''
  return `postgres://${credentials}@${env.DB_HOST}:${port}/${encodeURIComponent(env.DB_NAME ?? 'caracal')}${sslMode}`
}

function valueOrFile(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const file = env[`${name}_FILE`]
  if (file && env[name]) throw new CliError(`${name} and ${name}_FILE are both set.`, 'Set one of them.', { exitCode: 2 })
  if (!file) return env[name] || undefined
  return readSecretFile(file, `The file that ${name}_FILE names`).trim()
}

/** Version table and what needs elevated rights. Any number of times, before or after `migrate up`. */
export async function dbInit({ output, env }: CommandContext): Promise<void> {
  await withDatabase(env, async (database) => {
    await initDatabase(database)
    output.line(output.json ? JSON.stringify({ initialised: true }) : 'The database is initialised.')
  })
}

/** Initialises if needed and applies all pending migrations under one lock. */
export async function dbMigrateUp({ output, env }: CommandContext): Promise<void> {
  await withDatabase(env, async (database) => {
    const applied = await migrateUp(database, { onProgress: (migration) => output.note(`applying ${migration.name}`) })
    if (output.json) output.line(JSON.stringify({ applied }))
    else output.line(applied.length === 0 ? 'The schema is current; nothing to apply.' : `Applied ${applied.length} migrations.`)
  })
}

/** Exit code 0 when current, 3 when migrations are pending, 4 when the schema is not one that this version runs with. */
export async function dbStatus({ output, env }: CommandContext): Promise<void> {
  await withDatabase(env, async (database) => {
    const migrations = await migrationStatus(database)
    if (output.json) output.line(JSON.stringify({ migrations }))
    else {
      const rows = migrations.map(({ name, state, appliedAt }) => [
        name,
        state,
        appliedAt === null ? '-' : new Date(appliedAt).toISOString(),
      ])
      for (const line of table(['migration', 'state', 'applied'], rows)) output.line(line)
    }
    if (migrations.some(({ state }) => state === 'changed' || state === 'unknown')) process.exitCode = 4
    else if (migrations.some(({ state }) => state === 'pending')) process.exitCode = 3
  })
}

async function withDatabase(env: NodeJS.ProcessEnv, work: (database: Database) => Promise<void>): Promise<void> {
  const url = databaseUrl(env)
  const place = placeOf(url, env.DB_HOST ? (part) => PARTS[part] : partOfUrl('DATABASE_URL'))
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
