import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { CompactProcess } from '../compact/compact-process.ts'
import { call, mint, setUp, ZONE } from '../compact/governed.ts'
import { type CompactStage, openStage } from '../compact/stage.ts'
import { caracal } from '../e2e/installation.ts'

/** The compact deployment when things break: two processes of five roles on one Postgres. */
let stage: CompactStage
let token = ''
let credential = ''

beforeAll(async () => {
  stage = await openStage()
  const both = await Promise.all([stage.start(), stage.start()])
  await Promise.all(both.map((one) => one.ready()))
  token = await stage.firstToken()
  credential = await setUp(both[0], token, stage.upstream.url)
}, 120_000)
afterAll(() => stage?.stop(), 60_000)

test('[4-20] [4-38] a process that is killed under load: every call that went out has its event, and the other one goes on', async () => {
  const [survivor, killed] = stage.started as [CompactProcess, CompactProcess]
  const mandate = await mint(survivor, credential)
  await expect.poll(async () => (await call(killed, mandate, 'warm')).status, { timeout: 20_000 }).toBe(200)
  const running = { on: true }
  const clients = Array.from({ length: 8 }, async (_, client) => {
    for (let at = 0; running.on; at += 1) await call(killed, mandate, `load-${client}-${at}`)
  })
  const before = stage.upstream.seen.length
  await expect.poll(() => stage.upstream.seen.length, { timeout: 20_000 }).toBeGreaterThan(before + 200)
  await killed.end('SIGKILL')
  running.on = false
  await Promise.all(clients)
  expect((await call(survivor, mandate, 'survivor')).status).toBe(200)
  const reached = stage.upstream.seen.filter((path) => path.includes('/load-'))
  const missing = async () => {
    const recorded = new Set((await stage.events(survivor, token, 'type=call.allowed')).map(({ operation }) => operation?.path))
    // What the killed one had in its hands waits in the table until its lease is over.
    const waiting = stage.inPod('psql', ['-At', '-d', 'caracal', '-c', 'SELECT payload FROM stream_work'])
    return reached.filter((path) => !recorded.has(path) && !waiting.includes(`"path":"${path}"`))
  }
  await expect.poll(missing, { timeout: 30_000, interval: 1_000 }).toEqual([])
}, 120_000)

test('[4-16] with a spool, Postgres away: served from memory within the bound and said so in header and evidence, then 503', async () => {
  const spooling = await stage.start({
    EVIDENCE: 'write-ahead',
    SPOOL_DIR: stage.folder,
    REVOCATION_MAX_AGE: '30s',
    POLICY_CACHE_TTL: '12s',
  })
  await spooling.ready()
  const mandate = await mint(spooling, credential)
  await expect.poll(async () => (await call(spooling, mandate, 'sure')).degraded, { timeout: 20_000 }).toBeNull()
  await stage.server.end('SIGKILL')
  const seen: string[] = []
  await expect
    .poll(
      async () => {
        const { status, degraded, requestId, code } = await call(spooling, mandate, 'unsure')
        if (status === 200 && degraded !== null) seen.push(requestId)
        return code
      },
      { timeout: 40_000, interval: 250 },
    )
    .toBe('sts_unavailable')
  expect(seen.length).toBeGreaterThan(0)
  await stage.server.start()
  await expect
    .poll(async () => (await call(spooling, mandate, 'again')).degraded === null && (await call(spooling, mandate, 'again')).status, {
      timeout: 40_000,
    })
    .toBe(200)
  const told = async () =>
    (await stage.events(spooling, token, 'type=call.allowed'))
      .filter(({ request_id }) => request_id === seen.at(-1))
      .map(({ details }) => details?.degraded)
  await expect.poll(told, { timeout: 30_000, interval: 1_000 }).toEqual([true])
  expect(await spooling.end()).toBe(0)
}, 150_000)

test('[4-27] [4-28] [P-139] a dump goes into an emptied database: nothing starts before it was told, then the ledger verifies, policy holds, older mandates do not', async ({
  annotate,
}) => {
  const [gateway] = stage.started as [CompactProcess]
  const older = await mint(gateway, credential)
  const policies = (where: CompactProcess) => where.caracal(['--json', 'get', 'policies', '-z', ZONE], { CARACAL_TOKEN: token })
  const before = JSON.parse((await policies(gateway)).stdout) as unknown
  const log = stage.inPod('psql', ['-At', '-d', 'caracal', '-c', 'SELECT zone, size FROM log_heads ORDER BY zone'])
  const dump = stage.inPod('pg_dump', ['caracal'])
  const began = performance.now()
  for (const one of stage.started) await one.end()
  stage.inPod('psql', ['-d', 'postgres', '-c', 'DROP DATABASE caracal WITH (FORCE)', '-c', 'CREATE DATABASE caracal'])
  stage.inPod('psql', ['caracal'], dump)
  const restored = await stage.start()
  await expect.poll(() => restored.said(), { timeout: 30_000 }).toContain('caracal ledger restored')
  expect([await restored.probe('/health'), await restored.probe('/ready')]).toEqual([200, 503])
  await expect
    .poll(async () => (await (await fetch(`${restored.url}/ready`)).json()) as unknown)
    .toMatchObject({ reasons: expect.arrayContaining(['restore_unconfirmed']) })
  for (const words of ['retired', 'nothing was changed'])
    expect(await caracal(['ledger', 'restored'], stage.environment)).toMatchObject({ code: 0, stdout: expect.stringContaining(words) })
  await restored.ready()
  expect(await call(restored, older, 'older')).toMatchObject({ status: 401 })
  const mandate = await mint(restored, credential)
  await expect.poll(async () => (await call(restored, mandate, 'newer')).status, { timeout: 20_000 }).toBe(200)
  await annotate(`from the stop to the first call after the restore: ${Math.round(performance.now() - began)} ms`)
  expect(JSON.parse((await policies(restored)).stdout)).toEqual(before)
  const verified = await restored.caracal(['audit', 'verify', '--zone', ZONE], { CARACAL_TOKEN: token })
  expect(verified.code, verified.stdout + verified.stderr).toBe(0)
  const now = stage.inPod('psql', ['-At', '-d', 'caracal', '-c', 'SELECT zone, size FROM log_heads ORDER BY zone'])
  const sizes = (text: string) =>
    new Map(
      text
        .trim()
        .split('\n')
        .map((line) => line.split('|') as [string, string]),
    )
  for (const [zone, size] of sizes(log)) expect(Number(sizes(now).get(zone))).toBeGreaterThanOrEqual(Number(size))
  const admin = await stage.events(restored, token, 'type=admin.changed')
  expect(JSON.stringify(admin)).toContain('"action":"restored"')
  expect((await restored.caracal(['--json', 'canary'], { CARACAL_TOKEN: token })).code).toBe(0)
}, 150_000)

test('a password that changed is told at the start, and taken over by kek adopt', async () => {
  const changed = `new/${randomBytes(24).toString('base64')}`
  stage.inPod('psql', ['-d', 'postgres', '-c', `ALTER USER owner PASSWORD '${changed}'`])
  stage.environment = { ...stage.environment, DB_PASSWORD: changed }
  const refused = await stage.start()
  await expect.poll(() => refused.runs(), { timeout: 30_000 }).toBe(false)
  expect(await refused.end()).toBe(78)
  expect(refused.said()).toContain('caracal kek adopt')
  expect(await caracal(['kek', 'adopt'], { ...stage.environment, DB_PASSWORD_PREVIOUS: 'another one altogether' })).toMatchObject({
    code: 2,
  })
  expect(await caracal(['kek', 'adopt'], { ...stage.environment, DB_PASSWORD_PREVIOUS: stage.password })).toMatchObject({ code: 0 })
  const again = await stage.start()
  await again.ready()
  const mandate = await mint(again, credential)
  await expect.poll(async () => (await call(again, mandate, 'adopted')).status, { timeout: 20_000 }).toBe(200)
  expect(await again.end()).toBe(0)
}, 90_000)
