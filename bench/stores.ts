import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { type PostgresServer, type RedisServer, startPostgres, startRedis } from '@caracal/harness'
import pg from 'pg'
import type { Watched } from './processor-time.ts'

export type Stores = {
  readonly postgres: PostgresServer
  readonly redis: RedisServer
  readonly watched: Watched
  /** Postgres for one role, with an account of its own, so that its statements can be told from the others'. */
  urlFor(role: string): string
  /** Statements that Postgres has executed so far, by role. */
  statements(): Promise<Readonly<Record<string, number>>>
  stop(): Promise<void>
}

/** Postgres as an installation has it: every commit on the disk; statements are counted. 512 MB of its own memory, the rest as delivered. */
const POSTGRES = {
  shared_preload_libraries: 'pg_stat_statements',
  shared_buffers: '512MB',
  max_wal_size: '4GB',
} as const

/** A real Postgres with fsync on, and a real Redis, both on loopback. */
export async function startStores(roles: readonly string[] = []): Promise<Stores> {
  const [postgres, redis] = await Promise.all([startPostgres({ durable: true, settings: POSTGRES }), startRedis()])
  const postmaster = Number(readFileSync(join(postgres.dataDir, 'postmaster.pid'), 'utf8').split('\n')[0])
  const ask = (text: string) => query<{ role: string; calls: string }>(postgres.url, text)
  await ask('CREATE EXTENSION pg_stat_statements')
  for (const role of roles) await ask(`CREATE ROLE ${role} LOGIN SUPERUSER`)
  return {
    postgres,
    redis,
    urlFor: (role) => postgres.url.replace('//caracal@', `//${role}@`),
    statements: async () => {
      const rows = await ask(
        'SELECT rolname AS role, sum(calls) AS calls FROM pg_stat_statements JOIN pg_roles ON pg_roles.oid = userid GROUP BY rolname',
      )
      return Object.fromEntries(rows.map(({ role, calls }) => [role, Number(calls)]))
    },
    watched: [
      { name: 'postgres', pid: postmaster, withChildren: true },
      { name: 'redis', pid: await redisProcess(redis.port) },
    ],
    stop: async () => {
      await Promise.all([postgres.stop(), redis.stop()])
    },
  }
}

async function query<Row extends pg.QueryResultRow>(url: string, text: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query<Row>(text)).rows
  } finally {
    await client.end()
  }
}

function redisProcess(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    let said = ''
    const socket = connect(port, '127.0.0.1', () => socket.write('INFO server\r\n'))
    socket.once('error', reject)
    socket.on('data', (data) => {
      said += String(data)
      const pid = /process_id:(\d+)/.exec(said)?.[1]
      if (pid === undefined) return
      socket.destroy()
      resolve(Number(pid))
    })
  })
}
