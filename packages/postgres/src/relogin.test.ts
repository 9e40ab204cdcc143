import { randomBytes } from 'node:crypto'
import { freshDatabaseUrl } from '@caracal/harness'
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Database } from './database.ts'
import { openDatabase } from './open-database.ts'

const role = `second_${randomBytes(4).toString('hex')}`
const application = `relogin-${role}`
let url = ''
let database: Database

const withUser = (user: string) => {
  const changed = new URL(url)
  changed.username = user
  return changed.href
}

beforeAll(async () => {
  url = await freshDatabaseUrl()
  database = await openDatabase({ url, pool: 4, application })
  await sql`CREATE ROLE ${sql.id(role)} LOGIN SUPERUSER`.execute(database.query)
})
afterAll(() => database?.close())

const users = async () =>
  (
    await sql<{ user: string }>`
      SELECT DISTINCT usename AS user FROM pg_stat_activity WHERE application_name = ${application} ORDER BY 1`.execute(database.query)
  ).rows.map(({ user }) => user)

test('[P-144] the login of the database changes under load: no statement fails, transactions end as they began, notifications go on', async () => {
  const heard: string[] = []
  const stop = await database.listen(
    'relogin',
    (payload) => heard.push(payload),
    () => heard.push('reconnected'),
  )
  let asked = 0
  const loading = new AbortController()
  // More clients than connections: some wait for one of the pool that goes.
  const load = Array.from({ length: 12 }, async () => {
    while (!loading.signal.aborted) {
      await database.transaction(async (tx) => {
        const before = (await sql<{ user: string }>`SELECT current_user AS user, pg_sleep(0.002)`.execute(tx)).rows[0]?.user
        const after = (await sql<{ user: string }>`SELECT current_user AS user`.execute(tx)).rows[0]?.user
        if (before !== after) throw new Error('one transaction had two users')
      })
      asked += 1
    }
  })
  await expect.poll(() => asked).toBeGreaterThan(20)
  await database.relogin(withUser(role))
  const then = asked
  await expect.poll(() => asked).toBeGreaterThan(then + 20)
  loading.abort()
  await Promise.all(load)
  await expect.poll(users).toEqual([role])
  await expect.poll(() => heard).toContain('reconnected')
  await sql`SELECT pg_notify('relogin', 'still heard')`.execute(database.query)
  await expect.poll(() => heard).toContain('still heard')
  await stop()
})

test('[P-144] a login that nobody has, or another database, is refused and the one in use stays', async () => {
  const before = await users()
  await expect(database.relogin(withUser('nobody_here'))).rejects.toThrow('nobody_here')
  await expect(database.relogin(url.replace(/[^/]+$/, 'elsewhere'))).rejects.toThrow('only the user and the password')
  await database.ping()
  expect(await users()).toEqual(before)
})
