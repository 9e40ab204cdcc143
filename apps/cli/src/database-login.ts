import { basename } from 'node:path'
import { CliError } from './cli-error.ts'
import { type DatabasePart, type DatabasePlace, partOfUrl, placeOf } from './database-error.ts'
import { readSecretFile } from './secret-file.ts'

/** How a command gets into the database, and how to speak of it without its password. */
export type DatabaseLogin = {
  readonly url: string
  readonly place: DatabasePlace
  readonly port: string
  readonly sslMode: string
  /** Name of the file or variable that the password came from; the last part of a path, as a key of a Secret is called. */
  readonly passwordKey: string
  /** The database that the services use, when their URL is known beside the migration's own login. */
  readonly servicesDatabase: string | undefined
}

/** The names of one spelling of the parts. */
type Parts = Readonly<Record<'host' | 'port' | 'user' | 'password' | 'database' | 'tls', string>>

const DB: Parts = { host: 'DB_HOST', port: 'DB_PORT', user: 'DB_USER', password: 'DB_PASSWORD', database: 'DB_NAME', tls: 'DB_SSLMODE' }
const PG: Parts = { host: 'PGHOST', port: 'PGPORT', user: 'PGUSER', password: 'PGPASSWORD', database: 'PGDATABASE', tls: 'PGSSLMODE' }

/**
 * `DATABASE_URL[_FILE]`, or `DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD[_FILE], DB_SSLMODE`; both is an error. Or `PGHOST, …,
 * PGPASSWORD[_FILE]`: then DATABASE_URL is what the services use, and must name the same database.
 */
export function databaseLogin(env: NodeJS.ProcessEnv): DatabaseLogin {
  const url = valueOrFile(env, 'DATABASE_URL')
  if (env.DB_HOST) {
    if (url !== undefined) throw new CliError('DATABASE_URL and DB_HOST are both set.', 'Set one of them.', { exitCode: 2 })
    return fromParts(env, DB, undefined)
  }
  if (env.PGHOST) return fromParts(env, PG, url === undefined ? undefined : placeOf(url, partOfUrl('DATABASE_URL')).database)
  if (url === undefined)
    throw new CliError('No database is named.', 'Set DATABASE_URL, or DB_HOST, DB_PORT, DB_NAME, DB_USER and DB_PASSWORD.', { exitCode: 2 })
  const parsed = URL.parse(url)
  return {
    url,
    place: placeOf(url, partOfUrl('DATABASE_URL')),
    port: parsed?.port || '5432',
    sslMode: parsed?.searchParams.get('sslmode') ?? 'disable',
    passwordKey: env.DATABASE_URL_FILE ? basename(env.DATABASE_URL_FILE) : 'DATABASE_URL',
    servicesDatabase: undefined,
  }
}

/** Whether the environment names a database at all. */
export function namesDatabase(env: NodeJS.ProcessEnv): boolean {
  return [env.DATABASE_URL, env.DATABASE_URL_FILE, env.DB_HOST, env.PGHOST].some(Boolean)
}

/** The address alone. */
export function databaseUrl(env: NodeJS.ProcessEnv): string {
  return databaseLogin(env).url
}

function fromParts(env: NodeJS.ProcessEnv, names: Parts, servicesDatabase: string | undefined): DatabaseLogin {
  const port = env[names.port] || '5432'
  if (!/^\d{1,5}$/.test(port)) throw new CliError(`${names.port} is not a port.`, undefined, { exitCode: 2 })
  const user = encodeURIComponent(env[names.user] || 'caracal')
  const password = valueOrFile(env, names.password)
  const credentials = password === undefined ? user : `${user}:${encodeURIComponent(password)}`
  const host = env[names.host] ?? ''
  const sslMode = env[names.tls] || 'disable'
  const query = new URLSearchParams(env[names.tls] ? { sslmode: sslMode } : {})
  if (names === PG && env.PGSSLROOTCERT) query.set('sslrootcert', env.PGSSLROOTCERT)
  const database = encodeURIComponent(env[names.database] || 'caracal')
  const url = `postgres://${credentials}@${host.includes(':') ? `[${host}]` : host}:${port}/${database}${query.size === 0 ? '' : `?${query}`}`
  const file = env[`${names.password}_FILE`]
  return {
    url,
    place: placeOf(url, (part: DatabasePart) => (part === 'url' ? `${names.host} and ${names.tls}` : names[part])),
    port,
    sslMode,
    passwordKey: file ? basename(file) : names.password,
    servicesDatabase,
  }
}

function valueOrFile(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const file = env[`${name}_FILE`]
  if (file && env[name]) throw new CliError(`${name} and ${name}_FILE are both set.`, 'Set one of them.', { exitCode: 2 })
  if (!file) return env[name] || undefined
  const text = readSecretFile(file, `The file that ${name}_FILE names`).trim()
  if (text === '')
    throw new CliError(`The file that ${name}_FILE names is empty: ${file}.`, undefined, { exitCode: 2, code: 'secret_key_missing' })
  return text
}
