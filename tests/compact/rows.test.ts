import { randomBytes } from 'node:crypto'
import { freshDatabaseUrl } from '@caracal/harness'
import { sql } from 'kysely'
import pg from 'pg'
import { afterAll, expect, test } from 'vitest'
import { event, openWorld } from '../../apps/audit/src/test-support/world.ts'
import { caracal } from '../e2e/installation.ts'
import { type CompactProcess, databaseSettings, startCompactProcess } from './compact-process.ts'
import { call, mint, setUp, startUpstream } from './governed.ts'

/** `ROWS_CALLS=1000000` by hand: the same, for as long as it takes. */
const CALLS = Number(process.env.ROWS_CALLS ?? 300)
const PATIENT = { timeout: 150_000, interval: 500 }

const started: CompactProcess[] = []
afterAll(() => Promise.all(started.map((one) => one.end('SIGKILL'))))

/** What evidence is made of, and what is told to all replicas each second whatever they do. */
const EVIDENCE = ['log_blocks', 'log_checkpoints', 'log_heads', 'log_tiles']
const IN_PASSING = ['stream_broadcasts', 'stream_claims']

test(`[P-136] a governed call leaves no row but evidence: ${CALLS} calls, every table counted before and after; what is out of date goes until none is left`, async () => {
  const url = await freshDatabaseUrl()
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const upstream = await startUpstream()
  try {
    const environment = databaseSettings(url, randomBytes(24).toString('base64'))
    const gateway = await startCompactProcess({ environment })
    started.push(gateway)
    await gateway.ready()
    const roles = ['--role', 'admin', '--role', 'policy_author', '--role', 'operator']
    const made = await caracal(['token', 'create', 'first', ...roles, '--database'], environment)
    const credential = await setUp(gateway, made.stdout.trim(), upstream.url)
    let mandate = await mint(gateway, credential)
    await expect.poll(async () => (await call(gateway, mandate, 'first')).status, PATIENT).toBe(200)

    const countOf = async (from: string) => Number((await client.query(`select count(*) from ${from}`)).rows[0]?.count)
    const drained = () => expect.poll(() => countOf('stream_work'), PATIENT).toBe(0)
    const counts = async () => {
      await drained()
      const { rows } = await client.query(`select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace`)
      const found = new Map<string, number>()
      for (const { relname } of rows as { relname: string }[]) found.set(relname, await countOf(relname))
      return found
    }
    const before = await counts()
    let went = 0
    const worker = async () => {
      while (went < CALLS) {
        // What is refused, because the machine is busy or the mandate is over, is not counted, and leaves evidence too.
        if ((await call(gateway, mandate, 'one')).status === 200) went += 1
        else mandate = await mint(gateway, credential)
      }
    }
    await Promise.all(Array.from({ length: 8 }, worker))
    const logged = async () => Number((await client.query('select sum(count) as n from log_blocks')).rows[0]?.n)
    await expect.poll(logged, PATIENT).toBeGreaterThanOrEqual(2 * CALLS)
    const after = await counts()
    const grew = [...after].flatMap(([table, many]) => (many > (before.get(table) ?? 0) ? [table] : []))
    expect(grew.filter((table) => !EVIDENCE.includes(table) && !IN_PASSING.includes(table))).toEqual([])
    // Two events and more of each call are a small part of as many rows.
    expect((after.get('log_blocks') ?? 0) - (before.get('log_blocks') ?? 0)).toBeLessThan(CALLS)
    expect((after.get('stream_claims') ?? 0) - (before.get('stream_claims') ?? 0)).toBeLessThan(CALLS / 4)

    // An hour later, as far as the rows can tell.
    await client.query(`update stream_claims set expires_at = expires_at - interval '1 hour'`)
    await client.query(`update stream_broadcasts set created_at = created_at - interval '1 hour'`)
    const outdated = async () =>
      (await countOf('stream_claims where expires_at < now()')) +
      (await countOf(`stream_broadcasts where created_at < now() - interval '30 minutes'`))
    await expect.poll(outdated, PATIENT).toBe(0)
  } finally {
    await client.end()
    upstream.stop()
  }
}, 480_000)

test('[P-136] the ledger has no partitions, by default or by month, and no month’s end is one: it is written before, at and after each, years from now too', async () => {
  const clock = { now: Date.UTC(2027, 0, 31, 23, 59, 59, 990) }
  const world = await openWorld('server', { start: false })
  try {
    await world.startAudit({ clock: () => clock.now })
    const partitions = await sql<{ n: number }>`select count(*)::int as n from pg_class where relkind = 'p' or relispartition`.execute(
      world.database.query,
    )
    expect(partitions.rows[0]?.n).toBe(0)
    const zone = (await world.zone()).id
    const ends = [Date.UTC(2027, 1, 1), Date.UTC(2027, 2, 1), Date.UTC(2028, 1, 29), Date.UTC(2028, 2, 1), Date.UTC(2031, 0, 1)]
    let size = 0
    for (const end of ends) {
      for (const now of [end - 1, end, end + 1]) {
        clock.now = now
        await world.send([event(zone, { time: new Date(now).toISOString().replace('Z', '000Z') })])
        size += 1
        await world.grown(zone, size, 60_000)
      }
    }
    const { rows } = await sql<{ n: number; months: number }>`
      select count(*)::int as n, count(distinct date_trunc('month', appended_at))::int as months from log_blocks where zone = ${zone}`.execute(
      world.database.query,
    )
    expect(rows[0]?.n).toBeGreaterThan(0)
    expect(rows[0]?.months).toBeGreaterThanOrEqual(7)
  } finally {
    await world.close()
  }
}, 240_000)
