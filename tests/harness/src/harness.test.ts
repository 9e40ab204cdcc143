import pg from 'pg'
import { expect, test } from 'vitest'
import { freshDatabaseUrl, startRedis } from './index.ts'

test('every database of the harness is new and empty', async () => {
  const urls = await Promise.all([freshDatabaseUrl(), freshDatabaseUrl()])
  expect(urls[0]).not.toBe(urls[1])
  const client = new pg.Client({ connectionString: urls[0] })
  await client.connect()
  const tables = await client.query("SELECT count(*)::int AS n FROM information_schema.tables WHERE table_schema = 'public'")
  await client.end()
  expect(tables.rows[0]).toEqual({ n: 0 })
})

test('a Redis of its own can be stopped and started again on its port', async () => {
  const first = await startRedis()
  await first.stop()
  const second = await startRedis({ port: first.port })
  expect(second.url).toBe(first.url)
  await second.stop()
})
