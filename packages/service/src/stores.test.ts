import { freshDatabaseUrl, startPostgres } from '@caracal/harness'
import { openDatabase } from '@caracal/postgres'
import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { writesCheck } from './index.ts'

describe('[P-174] [P-140] whether Postgres takes changes', () => {
  it('is told from the server itself, within one session, and back', async () => {
    const url = await freshDatabaseUrl()
    const database = await openDatabase({ url })
    const check = writesCheck(database)
    expect(await check.check()).toBe(true)
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    const name = new URL(url).pathname.slice(1)
    const set = async (value: string) => {
      await client.query(`ALTER DATABASE ${name} SET default_transaction_read_only = ${value}`)
      // The setting of a database holds for sessions that begin after it.
      await client.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()', [name])
    }
    await set('on')
    await expect.poll(() => check.check()).toEqual({ missing: 'store_read_only' })
    await client.query('SET default_transaction_read_only = off')
    await set('off')
    await expect.poll(() => check.check()).toBe(true)
    await client.end()
    await database.close()
  })

  it('is as it was said last while the server hangs', async () => {
    const postgres = await startPostgres()
    const database = await openDatabase({ url: postgres.url })
    const check = writesCheck(database)
    expect(await check.check()).toBe(true)
    postgres.signal('SIGSTOP')
    const before = performance.now()
    for (let round = 0; round < 3; round += 1) expect(await check.check()).toBe(true)
    expect(performance.now() - before).toBeLessThan(30_000)
    expect(database.pool().inUse).toBeLessThanOrEqual(1)
    postgres.signal('SIGCONT')
    expect(await check.check()).toBe(true)
    await database.close()
    await postgres.stop()
  })
})
