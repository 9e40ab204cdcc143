import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { freshDatabaseUrl } from '@caracal/harness'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { caracal } from '../e2e/installation.ts'
import { type CompactProcess, databaseSettings, startCompactProcess } from './compact-process.ts'
import { mint, setUp, startUpstream, ZONE } from './governed.ts'

/** One process as the manifests leave it, one with other values of the same keys, on one database. */
const CHANGED = {
  LOG_LEVEL: 'error',
  MAX_REQUEST_BYTES: '10',
  UPSTREAM_TIMEOUT: '1s',
  UPSTREAM_HOST_ALLOWLIST: 'allowed.example',
  POLICY_CACHE: 'false',
  DB_POOL_MAX: '4',
  DB_POOL_TIMEOUT: '1s',
  METRICS_BEARER: 'a-bearer-of-twenty-characters',
}

let url = ''
let environment: Record<string, string>
let usual: CompactProcess
let changed: CompactProcess
let mandates: { usual: string; changed: string }
let token = ''
let credential = ''
const upstream = startUpstream()
const all: CompactProcess[] = []

beforeAll(async () => {
  url = await freshDatabaseUrl()
  environment = { ...databaseSettings(url, randomBytes(24).toString('base64')), LOG_LEVEL: 'info' }
  const { UPSTREAM_HOST_ALLOWLIST: _, ...more } = CHANGED
  const both = await Promise.all([startCompactProcess({ environment }), startCompactProcess({ environment: { ...environment, ...more } })])
  all.push(...both)
  usual = both[0]
  changed = both[1]
  await Promise.all(both.map((one) => one.ready()))
  const made = await caracal(
    ['token', 'create', 'first', '--role', 'admin', '--role', 'policy_author', '--role', 'operator', '--database'],
    environment,
  )
  token = made.stdout.trim()
  credential = await setUp(usual, token, (await upstream).url)
  mandates = { usual: await mint(usual, credential), changed: await mint(changed, credential) }
  for (const process of [usual, changed]) while ((await ask(process)).status !== 200) await sleep(100)
}, 240_000)
afterAll(async () => {
  await Promise.all(all.map((one) => one.end('SIGKILL')))
  ;(await upstream).stop()
})

async function ask(
  process: CompactProcess,
  path = 'one',
  body?: string,
): Promise<{ readonly status: number; readonly code: string | undefined }> {
  const answer = await fetch(`${process.url}/r/notes/notes/${path}`, {
    headers: { authorization: `Bearer ${process === usual ? mandates.usual : mandates.changed}` },
    ...(body === undefined ? {} : { method: 'POST', body }),
  })
  const said = (await answer.json()) as { code?: string }
  return { status: answer.status, code: said.code }
}

async function count(text: string, values: readonly unknown[] = []): Promise<number> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return Number((await client.query(text, [...values])).rows[0]?.count)
  } finally {
    await client.end()
  }
}

describe('[4-13] [4-39] each setting changes what a process does', () => {
  test('LOG_LEVEL: what is said', () => {
    expect(usual.said()).toContain('"message":"listening"')
    expect(changed.said()).not.toContain('"message":"listening"')
  })

  test('MAX_REQUEST_BYTES: a body that is larger is refused before anything else', async () => {
    expect((await ask(changed, 'one', 'more than ten bytes')).code).toBe('body_too_large')
    expect((await ask(usual, 'one', 'more than ten bytes')).code).not.toBe('body_too_large')
  })

  test('UPSTREAM_TIMEOUT: an upstream that begins its answer later than that is given up', async () => {
    const [slow, given] = await Promise.all([ask(usual, 'slow'), ask(changed, 'slow')])
    expect(slow.status).toBe(200)
    expect(given.status).toBe(504)
  })

  test('METRICS_BEARER: scrapes must carry it, probes need nothing', async () => {
    const scrape = async (process: CompactProcess, authorization = '') =>
      (await fetch(`${process.metrics}/metrics`, { headers: { authorization } })).status
    expect([await scrape(usual), await scrape(changed), await scrape(changed, `Bearer ${CHANGED.METRICS_BEARER}`)]).toEqual([200, 401, 200])
    expect(await changed.probe('/health', 'metrics')).toBe(200)
  })

  test('POLICY_CACHE: off, every call asks the STS whether it is current', async () => {
    const asked = async (process: CompactProcess, authorization: string) => {
      const text = await (await fetch(`${process.metrics}/metrics`, { headers: { authorization } })).text()
      const calls = [...text.matchAll(/^caracal_gateway_sts_calls_total\{[^}]*\} (\d+)$/gm)]
      return calls.reduce((sum, [, many]) => sum + Number(many), 0)
    }
    const during = async (process: CompactProcess, authorization = '') => {
      const before = await asked(process, authorization)
      for (let at = 0; at < 20; at += 1) await ask(process)
      return (await asked(process, authorization)) - before
    }
    expect(await during(changed, `Bearer ${CHANGED.METRICS_BEARER}`)).toBeGreaterThanOrEqual(20)
    expect(await during(usual)).toBeLessThan(20)
  })

  test('DB_POOL_MAX: connections of a process, and one of each of its threads for notifications', async () => {
    const mandate = mandates.changed
    await Promise.all(
      Array.from({ length: 40 }, () => fetch(`${changed.url}/r/notes/notes/one`, { headers: { authorization: `Bearer ${mandate}` } })),
    )
    const open = await count(
      `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'caracal-gateway'`,
    )
    // Two processes: 10 + 2 and 4 + 2 at most.
    expect(open).toBeLessThanOrEqual(18)
    expect(open).toBeGreaterThan(2)
  })

  test('DB_POOL_TIMEOUT: how long a statement waits for a connection before its request is refused', async () => {
    const answered = { usual: [] as number[], changed: [] as number[] }
    const locker = new pg.Client({ connectionString: url })
    await locker.connect()
    let waiting: Promise<unknown>[] = []
    try {
      const zone = (await locker.query('SELECT id FROM zones WHERE name = $1', [ZONE])).rows[0]?.id
      await locker.query('BEGIN')
      await locker.query('LOCK TABLE usage IN ACCESS EXCLUSIVE MODE')
      waiting = (['usual', 'changed'] as const).flatMap((name) =>
        Array.from({ length: 20 }, async () => {
          const { urls } = name === 'usual' ? usual : changed
          const answer = await fetch(`${urls.api}/v1/zones/${zone}/usage`, { headers: { authorization: `Bearer ${token}` } })
          answered[name].push(answer.status)
        }),
      )
      // More wait than there are connections, all of which wait for the lock.
      await expect.poll(() => answered.changed, { interval: 50 }).toContain(503)
      expect(answered.usual).toEqual([])
    } finally {
      await locker.end()
    }
    await Promise.all(waiting)
    expect(answered.usual).toEqual(Array(20).fill(200))
    expect(answered.changed).toContain(200)
  })

  test('DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_SSLMODE: the database is the one that they name', async () => {
    const named: readonly (readonly [string, string, RegExp])[] = [
      ['DB_HOST', 'nowhere.invalid', /is not known/],
      ['DB_PORT', '1', /Nothing answers/],
      ['DB_NAME', 'no_such_database', /has no database no_such_database/],
      ['DB_USER', 'nobody_there', /does not let nobody_there in|role "nobody_there" does not exist/],
      ['DB_SSLMODE', 'require', /TLS|SSL/],
    ]
    const told = await Promise.all(named.map(async ([name, value]) => await caracal(['db', 'status'], { ...environment, [name]: value })))
    for (const [at, [name, , said]] of named.entries()) {
      expect(told[at]?.code, name).toBe(1)
      expect(told[at]?.stderr).toMatch(said)
    }
  }, 60_000)
})

test('UPSTREAM_HOST_ALLOWLIST: no other host is called; POLICY_CACHE_SIZE: no more decisions are remembered', async () => {
  const more = { UPSTREAM_HOST_ALLOWLIST: CHANGED.UPSTREAM_HOST_ALLOWLIST, POLICY_CACHE_SIZE: '2' }
  const narrow = await startCompactProcess({ environment: { ...environment, ...more } })
  all.push(narrow)
  await narrow.ready()
  const answer = await fetch(`${narrow.url}/r/notes/notes/one`, { headers: { authorization: `Bearer ${mandates.usual}` } })
  expect(answer.status).toBeGreaterThanOrEqual(400)
  expect(((await answer.json()) as { code: string }).code).toMatch(/egress|upstream/)
  for (let n = 0; n < 4; n += 1) {
    const mandate = await mint(usual, credential)
    for (const process of [usual, narrow])
      await fetch(`${process.url}/r/notes/notes/one`, { headers: { authorization: `Bearer ${mandate}` } })
  }
  const remembered = async (process: CompactProcess) => {
    const text = await (await fetch(`${process.metrics}/metrics`)).text()
    return Number(/^caracal_decisions_remembered\{?[^\n]*? (\d+)$/m.exec(text)?.[1])
  }
  expect(await remembered(narrow)).toBe(2)
  expect(await remembered(usual)).toBeGreaterThanOrEqual(5)
  expect(await narrow.end()).toBe(0)
}, 180_000)

test('[4-22] the MCP Adapter with the STS beside it: probes and metrics of both on its one port', async () => {
  const adapter = await startCompactProcess({ role: 'mcp-adapter', beside: 'sts', migrate: false, environment, metricsOnMain: true })
  all.push(adapter)
  await adapter.ready()
  expect(await adapter.probe('/health')).toBe(200)
  const roles = async () => {
    const text = await (await fetch(`${adapter.url}/metrics`)).text()
    return [...text.matchAll(/^caracal_build_info\{role="([a-z-]+)"/gm)].map(([, role]) => role).sort()
  }
  await expect.poll(roles, { timeout: 60_000 }).toEqual(['mcp-adapter', 'sts'])
  expect(await adapter.end()).toBe(0)
}, 150_000)
