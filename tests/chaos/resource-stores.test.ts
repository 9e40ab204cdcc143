import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { expectNothingLost, quarantined } from './ledger.ts'
import { type Load, startLoad } from './load.ts'
import { type Stage, startStage } from './stage.ts'
import { checksOf, metricOf, untilReady } from './standing.ts'

let stage: Stage
let redis: Redis
let load: Load

beforeAll(async () => {
  stage = await startStage()
  redis = new Redis(stage.redis.url)
  load = startLoad(stage, { clients: 2, pause: 25 })
  await load.firstGoodCall(0)
}, 180_000)
afterAll(async () => {
  redis?.disconnect()
  await stage?.stop()
})

/** Waits until each of these was seen by a client since then. */
async function untilSeen(since: number, ...outcomes: string[]): Promise<void> {
  await expect.poll(() => Object.keys(load.tally(since)), { message: 'what the clients see' }).toEqual(expect.arrayContaining(outcomes))
}

/** What clients may see while only that fault is there, besides success. A connection or a decision that broke is not among it. */
function expectOnly(since: number, ...refusals: string[]): void {
  const other = Object.keys(load.tally(since)).filter((outcome) => !/ 20[01]$/.test(outcome) && !refusals.includes(outcome))
  expect(other.filter((outcome) => outcome !== 'call token_revoked')).toEqual([])
}

const service = (name: string) => stage.services.service(name)

describe('[P-174] [P-140] a store that takes nothing', () => {
  test('[P-115] Redis at `maxmemory`: single use is refused as `store_full` and never as policy, the rest goes on, evidence waits; then all of it goes on without a restart', async () => {
    const before = performance.now()
    await redis.config('SET', 'maxmemory', '1mb')
    for (const name of ['gateway', 'sts']) await untilReady(service(name), 'store_full')
    // What serves without a write to Redis is not taken away, it says so on /health.
    for (const name of ['api', 'coordinator', 'audit']) {
      expect((await service(name).ready()).status, name).toBe(200)
      await expect.poll(async () => (await checksOf(service(name))).streams_writes, { message: name }).toBe('failing')
    }
    const since = performance.now()
    await untilSeen(since, 'call store_full', 'call 200', 'mint 200', 'session 201', 'revocation 200')
    expectOnly(before, 'call store_full')
    expect(await metricOf(service('gateway'), 'caracal_streams_store_writable')).toBe(0)
    expect(await metricOf(service('gateway'), 'caracal_streams_store_used_ratio')).toBeGreaterThanOrEqual(1)
    await expect.poll(() => metricOf(service('sts'), 'caracal_spool_unsent_records')).toBeGreaterThan(0)
    await expect.poll(() => metricOf(service('gateway'), 'caracal_spool_unsent_records')).toBeGreaterThan(0)

    await redis.config('SET', 'maxmemory', '0')
    for (const name of ['gateway', 'sts']) await untilReady(service(name))
    await expect.poll(() => metricOf(service('gateway'), 'caracal_spool_unsent_records')).toBeLessThan(50)
    const back = performance.now()
    await sleep(2_000)
    expectOnly(back)
  })

  test('[P-115] three quarters of the memory in use: a warning on /health and a metric, and nothing else', async () => {
    const used = Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1])
    const before = performance.now()
    await redis.config('SET', 'maxmemory', String(Math.floor(used * 1.2)))
    for (const { name } of stage.services.all) {
      await expect.poll(async () => (await checksOf(service(name))).streams_memory, { message: name }).toBe('failing')
      expect((await service(name).ready()).status, name).toBe(200)
    }
    expect(await metricOf(service('audit'), 'caracal_streams_store_used_ratio')).toBeGreaterThanOrEqual(0.75)
    await redis.config('SET', 'maxmemory', '0')
    expectOnly(before)
    for (const { name } of stage.services.all) {
      await expect.poll(async () => (await checksOf(service(name))).streams_memory, { message: name }).toBe('ok')
    }
  })

  test('Postgres read-only: changes are refused as `store_read_only`, mints and calls go on, nothing is set aside; then changes go on without a restart', async () => {
    const before = performance.now()
    await makeReadOnly(true)
    for (const name of ['api', 'coordinator', 'audit']) await untilReady(service(name), 'store_read_only')
    for (const name of ['gateway', 'sts']) expect((await service(name).ready()).status, name).toBe(200)
    const since = performance.now()
    await untilSeen(since, 'session store_read_only', 'revocation store_read_only', 'mint 200', 'call 200')
    await sleep(3_000)
    expectOnly(before, 'session store_read_only', 'revocation store_read_only')
    expect(await metricOf(service('gateway'), 'caracal_spool_records')).toBeGreaterThan(0)
    expect(await quarantined(stage)).toEqual([])

    await makeReadOnly(false)
    for (const name of ['api', 'coordinator', 'audit']) await untilReady(service(name))
    await untilSeen(performance.now(), 'session 201', 'revocation 200', 'mint 200', 'call 200')
  })

  test('after all of it: every effect has its evidence, once', async () => {
    await load.stop()
    const { effects } = await expectNothingLost(stage, load)
    expect(effects).toBeGreaterThan(200)
  })
})

async function makeReadOnly(on: boolean): Promise<void> {
  const client = new pg.Client({ connectionString: stage.postgres.url })
  await client.connect()
  await client.query(`ALTER SYSTEM SET default_transaction_read_only = ${on ? 'on' : 'off'}`)
  await client.query('SELECT pg_reload_conf()')
  await client.end()
}
