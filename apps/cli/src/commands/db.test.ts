import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, freshDatabaseUrl, redisUrl, startPostgres, startRedis } from '@caracal/harness'
import { openDatabase, SCHEMA } from '@caracal/postgres'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { CliError } from '../cli-error.ts'
import type { CommandContext } from './command.ts'
import { dbMigrateUp, dbStatus } from './db.ts'

const folder = mkdtempSync(join(tmpdir(), 'caracal-db-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
afterEach(() => {
  process.exitCode = undefined
})

function file(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text, { mode: 0o600 })
  return path
}

const SECRET = 'geheim/+=@:%'

async function stepwise(env: Record<string, string>) {
  const lines: string[] = []
  const output = { json: true, line: (text = '') => void lines.push(text), note: () => {} }
  const failure = await dbMigrateUp({ output, env } as unknown as CommandContext, { preflight: true, replicas: [], pool: [] }).then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(lines.join('\n')).not.toContain(SECRET)
  if (failure !== undefined) expect(failure).toBeInstanceOf(CliError)
  return { failure, steps: lines.map((line) => JSON.parse(line) as Record<string, unknown>) }
}

async function status(url: string) {
  const lines: string[] = []
  const output = { json: true, line: (text = '') => void lines.push(text), note: () => {} }
  await dbStatus({ output, env: { DATABASE_URL: url } } as unknown as CommandContext)
  return { code: process.exitCode, told: JSON.parse(lines[0] ?? '') as Record<string, unknown> }
}

function partsOf(url: string) {
  const { hostname, port, pathname, username } = new URL(url)
  return { PGHOST: hostname, PGPORT: port, PGUSER: username, PGDATABASE: pathname.slice(1) }
}

describe('caracal db migrate up --preflight', () => {
  test('looks at the stores, then migrates; each step is a line of JSON that says where, and none says a secret', async () => {
    const url = await freshDatabaseUrl()
    const env = {
      ...partsOf(url),
      PGPASSWORD_FILE: file('postgresPassword', SECRET),
      DATABASE_URL: url,
      REDIS_URL: redisUrl(),
      CARACAL_MODE: 'dev',
    }
    const { failure, steps } = await stepwise(env)
    expect(failure).toBeUndefined()
    const named = (name: string) => steps.find((step) => step.name === name)
    expect(named('database_connect')).toMatchObject({
      ok: true,
      host: env.PGHOST,
      port: Number(env.PGPORT),
      user: env.PGUSER,
      database: env.PGDATABASE,
      sslMode: 'disable',
      passwordKey: 'postgresPassword',
    })
    for (const name of [
      'database_name',
      'database_version',
      'database_privilege',
      'database_clock',
      'connections',
      'redis_streams',
      'redis_eviction',
    ])
      expect(named(name), name).toMatchObject({ ok: true })
    expect(steps.filter(({ name }) => name === 'migrate')).toHaveLength(SCHEMA.level)
    expect(steps.at(-1)).toMatchObject({ name: 'schema', ok: true })
    expect(await status(url)).toMatchObject({ code: 0, told: { state: 'ok', schema: SCHEMA.level } })
    expect((await stepwise(env)).steps.at(-1)).toMatchObject({ message: 'current; nothing to apply' })
  })

  test('[0-25] a fault names its field and its class, and nothing is migrated', async () => {
    const server = await startPostgres()
    try {
      const admin = await openDatabase({ url: server.url })
      const { sql } = await import('kysely')
      for (const text of [`CREATE ROLE locked LOGIN PASSWORD 'right'`, 'CREATE ROLE powerless LOGIN', 'CREATE DATABASE empty'])
        await sql.raw(text).execute(admin.query)
      await admin.close()
      writeFileSync(
        join(server.dataDir, 'pg_hba.conf'),
        ['hostssl encrypted all all trust', 'host all locked all scram-sha-256', 'host empty,absent,postgres all all trust\n'].join('\n'),
      )
      server.signal('SIGHUP')
      const base = { ...partsOf(server.url), PGDATABASE: 'empty', STREAMS_DRIVER: 'postgres', CARACAL_MODE: 'dev' }
      const password = file('postgresPassword', SECRET)
      const faults: readonly (readonly [Record<string, string>, string, string])[] = [
        [{ ...base, PGHOST: 'no-such-host.invalid' }, 'dns', 'PGHOST'],
        [{ ...base, PGPORT: String(await freePort()) }, 'refused', 'PGPORT'],
        [{ ...base, PGUSER: 'locked', PGPASSWORD_FILE: password }, 'auth', 'PGPASSWORD'],
        [{ ...base, PGDATABASE: 'absent' }, 'database_missing', 'PGDATABASE'],
        [{ ...base, PGUSER: 'powerless' }, 'privilege', 'GRANT CREATE'],
        [{ ...base, PGSSLMODE: 'verify-full' }, 'tls', 'PGSSLMODE'],
        [{ ...base, PGDATABASE: 'encrypted' }, 'tls', 'PGSSLMODE'],
        [{ ...base, PGPASSWORD_FILE: join(folder, 'absent') }, 'secret_key_missing', ''],
        [{ ...base, DATABASE_URL: server.url }, 'configuration', 'databaseUrl'],
        [{ ...base, CARACAL_MODE: 'stable', PGHOST: 'postgres.default.svc.cluster.local' }, 'configuration', 'where Postgres is'],
      ]
      for (const [env, fault, words] of faults) {
        const { failure, steps } = await stepwise(env)
        expect(failure, fault).toBeDefined()
        const failed = steps.find(({ ok }) => ok === false)
        expect(failed, JSON.stringify(steps)).toMatchObject({ class: fault })
        expect(`${failed?.message} ${failed?.fix ?? ''}`).toContain(words)
        expect(steps.some(({ name }) => name === 'schema')).toBe(false)
      }
    } finally {
      await server.stop()
    }
  })

  test('[1-07] in stable a Redis is refused that evicts or lets everybody in; in dev it warns', async () => {
    const redis = await startRedis({ args: ['--maxmemory-policy', 'allkeys-lru'] })
    try {
      const url = await freshDatabaseUrl()
      const strict = await stepwise({ DATABASE_URL: url, REDIS_URL: redis.url, CARACAL_MODE: 'stable' })
      const refused = strict.steps.filter(({ ok }) => ok === false).map(({ name }) => name)
      expect(refused).toEqual(['redis_credentials', 'redis_eviction'])
      expect(await status(url)).toMatchObject({ code: 3, told: { schema: 0 } })
      const lax = await stepwise({ DATABASE_URL: url, REDIS_URL: redis.url, CARACAL_MODE: 'dev' })
      expect(lax.failure).toBeUndefined()
      expect(lax.steps.filter(({ warning }) => warning === true).map(({ name }) => name)).toEqual(
        expect.arrayContaining(['redis_credentials', 'redis_eviction', 'redis_tls']),
      )
    } finally {
      await redis.stop()
    }
  })

  test('[1-07] a password that Redis does not take is said as such', async () => {
    const redis = await startRedis({ args: ['--user', 'guarded', 'on', '>the-right-one', '~*', '+@all'] })
    try {
      const { port } = redis
      const env = {
        DATABASE_URL: await freshDatabaseUrl(),
        REDIS_URL_FILE: file('redisUrl', `redis://guarded:wrong-one@127.0.0.1:${port}/0`),
      }
      const { steps } = await stepwise(env)
      expect(steps.find(({ ok }) => ok === false)).toMatchObject({ name: 'redis_connect', class: 'auth', passwordKey: 'redisUrl' })
    } finally {
      await redis.stop()
    }
  })
})

describe('caracal db status', () => {
  test('[0-24] says 0 for a schema that is newer and still fits, 4 for one that demands a newer version', async () => {
    const url = await freshDatabaseUrl()
    const database = await openDatabase({ url })
    const output = { json: true, line: () => {}, note: () => {} }
    await dbMigrateUp({ output, env: { DATABASE_URL: url } } as unknown as CommandContext, { preflight: false, replicas: [], pool: [] })
    await database.query
      .insertInto('schema_migrations')
      .values({
        version: SCHEMA.level + 1,
        name: 'later',
        sha256: '0'.repeat(64),
        phase: 'expand',
        app_version: '9.9.9',
        applied_at: new Date(),
        duration_ms: 1,
      } as never)
      .execute()
    expect(await status(url)).toMatchObject({ code: 0, told: { state: 'ok', schema: SCHEMA.level + 1, level: SCHEMA.level } })
    await database.query
      .updateTable('schema_floor')
      .set({ floor: SCHEMA.level + 1 })
      .execute()
    expect(await status(url)).toMatchObject({ code: 4, told: { state: 'too_new' } })
    await database.close()
  })
})
