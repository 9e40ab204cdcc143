import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { inject } from 'vitest'

export { freePort, freePorts, isTaken } from './free-port.ts'
export { type PostgresServer, postgresBinaries, startPostgres } from './postgres-server.ts'
export { type RedisServer, startRedis } from './redis-server.ts'

/** URL of a new, empty database on the run's Postgres. It goes with the server when the run ends. */
export async function freshDatabaseUrl(): Promise<string> {
  const url = inject('postgresUrl')
  const name = `test_${randomBytes(6).toString('hex')}`
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query(`CREATE DATABASE ${name}`)
  await client.end()
  return url.replace(/\/postgres$/, `/${name}`)
}

let handedOut = 0

/** URL of the run's Redis with a logical database that no test file running at the same time has. Flush it first if it must be empty. */
export function redisUrl(): string {
  const worker = Number(process.env.VITEST_POOL_ID ?? 1)
  handedOut += 1
  return `${inject('redisUrl')}/${(worker * 32 + (handedOut % 32)) % 256}`
}
