import { rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'
import { readStandings } from '@caracal/budgets'
import { type Budget, type BudgetHolder, type BudgetLimit, newId, type Session } from '@caracal/core'
import { freePorts, freshDatabaseUrl } from '@caracal/harness'
import { createBudget, listUsage } from '@caracal/postgres'
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { established, openWorld, type World } from '../../apps/sts/src/test-support/world.ts'
import { sharedKeys } from '../attacks/gateway-beside.ts'
import { type Gateway, gatewayOn, kill, startGateway, startUpstream, type Upstream } from './processes.ts'

const PATIENT = { timeout: 30_000, interval: 100 }
const price = (amount: string, more: object = {}) => ({ price: { amount, currency: 'EUR', ...more } })

type Client = Awaited<ReturnType<World['application']>>

let world: World
let zone: Budget['zone']
let upstream: Upstream
let sts: { readonly url: string; away: boolean; stop(): void }
let environment: Record<string, string>
let audience: string
const gateways: Gateway[] = []
const clients = new Map<string, Client>()
const budgets = new Map<string, Budget>()
const sessions = new Map<string, Session>()

/** The way to the STS, which can be cut. */
async function startRelay(to: number): Promise<typeof sts> {
  const open = new Set<Socket>()
  const server = createTcpServer((near) => {
    if (made.away) return near.destroy()
    const far = connect(to, '127.0.0.1')
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        open.delete(one)
        other.destroy()
      })
      one.pipe(other)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  let away = false
  const made = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get away() {
      return away
    },
    set away(cut: boolean) {
      away = cut
      if (cut) for (const socket of open) socket.destroy()
    },
    stop: () => {
      server.close()
      for (const socket of open) socket.destroy()
    },
  }
  return made
}

async function budget(name: string, holder: BudgetHolder, limit: BudgetLimit): Promise<void> {
  const fields = { name, holder, limit, window: 'total', per: null } as const
  budgets.set(name, established(await createBudget(world.fixtures.query, { ...fields, id: newId('budget'), zone }, Date.now())))
}

beforeAll(async () => {
  upstream = await startUpstream()
  const databaseUrl = await freshDatabaseUrl()
  const keys = sharedKeys()
  const charges = { PROVISIONAL_CHARGE_EXPIRATION: '8s', PROVISIONAL_CHARGE_MAX: '8s', PROVISIONAL_CHARGE_SWEEP_INTERVAL: '200ms' }
  world = await openWorld({ databaseUrl, environment: { ...keys, ...charges } })
  zone = (await world.zone()).id
  const operation = (path: string, more: object = {}) => ({ method: 'GET', path, scope: 'use', ...more })
  const resource = await world.resource(zone, {
    name: 'shop',
    upstream: `http://127.0.0.1:${upstream.port}`,
    egressAllow: ['127.0.0.0/8'],
    scopes: ['use'],
    operations: [
      operation('/free'),
      operation('/ok/{n}', price('0.10')),
      operation('/cost/{amount}', price('0.10', { actual: 'x-cost' })),
      operation('/status/{code}', price('0.10')),
      operation('/hang', price('0.10')),
      operation('/dollars', { price: { amount: '0.10', currency: 'USD' } }),
    ],
  })
  audience = resource.identifier
  await world.policy(zone, 'kind: Policy\nname: all\nrules:\n  - { id: all, allow: ["*"], on: ["*"], for: { any: true } }\n')
  for (const name of ['race', 'costs', 'killed', 'away', 'family', 'nobody']) clients.set(name, await world.application(zone))
  const idOf = (name: string) => clients.get(name)?.id as BudgetHolder
  await budget('race', idOf('race'), { amount: '1.00', currency: 'EUR' })
  for (const name of ['costs', 'killed', 'away']) await budget(name, idOf(name), { amount: '50', currency: 'EUR' })
  const family = clients.get('family') as Client
  const root = await world.session(family)
  for (const child of ['first', 'second']) sessions.set(child, await world.session(family, { above: root }))
  await budget('root', root.id, { amount: '0.30', currency: 'EUR' })
  await budget('child', sessions.get('first')?.id as BudgetHolder, { calls: 100 })
  // One more change of the zone: what was made beside it is loaded with it.
  await world.application(zone)

  sts = await startRelay(Number(new URL(world.sts.address.url).port))
  environment = {
    CARACAL_MODE: 'dev',
    METRICS_PORT: '0',
    LOG_LEVEL: 'fatal',
    STREAMS_DRIVER: 'postgres',
    DATABASE_URL: databaseUrl,
    STS_URL: sts.url,
    // What is spent while the store is away has tests of its own.
    PROVISIONAL_CHARGE_SLICE: '0',
    ...keys,
  }
  const first = await freePorts(2)
  for (const port of [first, first + 1]) gateways.push(gatewayOn(port))
  await Promise.all(gateways.map((gateway) => startGateway(gateway, environment)))
}, 240_000)

afterAll(async () => {
  await Promise.all(gateways.map((gateway) => kill(gateway)))
  sts?.stop()
  await world?.close()
  upstream?.stop()
  for (const { spool } of gateways) rmSync(spool, { recursive: true, force: true })
})

type Answer = { readonly status: number; readonly body: Record<string, unknown> | undefined }

async function mandateOf(name: string, more: Readonly<Record<string, string>> = {}): Promise<string> {
  const { access_token, code } = await world.ask(clients.get(name) as Client, { resource: audience, ...more })
  if (access_token === undefined) throw new Error(code)
  return access_token
}

async function call(mandate: string, path: string, at = 0, signal?: AbortSignal): Promise<Answer> {
  const answer = await fetch(`${gateways[at]?.url}/r/shop${path}`, {
    headers: { authorization: `Bearer ${mandate}` },
    ...(signal === undefined ? {} : { signal }),
  })
  const text = await answer.text()
  return { status: answer.status, body: text.startsWith('{') ? JSON.parse(text) : undefined }
}

async function standing(name: string) {
  const found = budgets.get(name) as Budget
  const standings = await readStandings(world.fixtures.query, zone, [found], Date.now())
  return standings.get(found.id) ?? { spent: '', reserved: '', remaining: '', resetsAt: null }
}

/** What is spent once nothing is on its way. */
async function spent(name: string): Promise<string> {
  await expect.poll(async () => (await standing(name)).reserved, PATIENT).toBe('0')
  return (await standing(name)).spent
}

test('[4-17] [P-045] 100 parallel calls through two Gateway processes on room for 10: exactly ten reach the upstream', async () => {
  const mandate = await mandateOf('race')
  const before = upstream.calls
  const answers = await Promise.all(Array.from({ length: 100 }, (_, n) => call(mandate, `/ok/${n}`, n % 2)))
  const refused = answers.filter(({ status }) => status === 403)
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(10)
  expect(refused).toHaveLength(90)
  expect(upstream.calls - before).toBe(10)
  expect(refused[0]?.body).toMatchObject({ code: 'budget_exceeded', remaining: '0', unit: 'EUR' })
  expect(await spent('race')).toBe('1')
  // A call without a price takes nothing of a budget in money.
  expect((await call(mandate, '/free')).status).toBe(200)
}, 120_000)

test('[P-045] a child spends its parent’s money: two sessions below one root share what the root may spend', async () => {
  const [first, second] = await Promise.all(
    ['first', 'second'].map((name) => mandateOf('family', { session: sessions.get(name)?.id ?? '' })),
  )
  const statuses: number[] = []
  for (const mandate of [first, second, first, second]) statuses.push((await call(mandate ?? '', '/ok/1')).status)
  expect(statuses).toEqual([200, 200, 200, 403])
  expect(await spent('root')).toBe('0.3')
  // Below the child's own budget, in calls, every one of its calls is counted: those without a price too.
  expect((await call(first ?? '', '/free')).status).toBe(200)
  expect(await spent('child')).toBe('3')
}, 120_000)

test('[P-045] a call is settled with what the upstream says that it cost, given back when the upstream fails, and paid when nobody waits for the answer', async () => {
  const mandate = await mandateOf('costs')
  const costOf = async (act: () => Promise<unknown>) => {
    const before = Number(await spent('costs'))
    await act()
    return Number((Number(await spent('costs')) - before).toFixed(6))
  }
  const hangUp = async () => {
    const gone = new AbortController()
    const waiting = call(mandate, '/hang', 0, gone.signal).catch(() => undefined)
    await expect.poll(() => upstream.held.length, PATIENT).toBe(1)
    gone.abort()
    await waiting
    // The Gateway hears of it: only then the charge is on its way.
    await expect.poll(() => upstream.held[0]?.destroyed, PATIENT).toBe(true)
    upstream.held.length = 0
  }
  expect(await costOf(() => call(mandate, '/cost/0.025'))).toBe(0.025)
  expect(await costOf(() => call(mandate, '/cost/3'))).toBe(3)
  expect(await costOf(() => call(mandate, '/cost/much'))).toBe(0.1)
  expect(await costOf(() => call(mandate, '/status/404'))).toBe(0.1)
  expect(await costOf(() => call(mandate, '/status/503'))).toBe(0)
  expect(await costOf(hangUp)).toBe(0.1)
  const application = clients.get('costs')?.id
  const { items } = await listUsage(world.fixtures.query, zone, { application }, { limit: 100 })
  expect(items.map(({ operation, amount }) => `${operation} ${amount}`)).toEqual([
    'GET /hang 0.1',
    'GET /status/{code} 0.1',
    'GET /cost/{amount} 0.1',
    'GET /cost/{amount} 3',
    'GET /cost/{amount} 0.025',
  ])
}, 120_000)

test('[4-17] [P-045] a Gateway that is killed between reserving and settling blocks the money for PROVISIONAL_CHARGE_EXPIRATION, at most PROVISIONAL_CHARGE_MAX, looked for each PROVISIONAL_CHARGE_SWEEP_INTERVAL; and the evidence says so', async () => {
  const mandate = await mandateOf('killed')
  const waiting = call(mandate, '/hang', 1).catch(() => undefined)
  await expect.poll(() => upstream.held.length, PATIENT).toBe(1)
  expect((await standing('killed')).reserved).toBe('0.1')
  await kill(gateways[1])
  await waiting
  upstream.held.length = 0
  expect(await spent('killed')).toBe('0')
  const { rows } = await sql<{ payload: string }>`select payload from outbox where payload like '%budget.expired%'`.execute(
    world.fixtures.query,
  )
  expect(rows).toHaveLength(1)
  expect(rows[0]?.payload).toContain('"amount":"0.1"')
  const work = await sql<{ text: string }>`select payload as text from stream_work`.execute(world.fixtures.query)
  expect(work.rows.filter(({ text }) => text.includes('"charged":"0.10 EUR"')).length).toBeGreaterThan(0)
}, 120_000)

test('[P-045] another currency is a refusal; [4-17] BUDGET_REQUIRED refuses what no budget counts, and nothing else', async () => {
  const mandate = await mandateOf('killed')
  expect(await call(mandate, '/dollars')).toMatchObject({ status: 403, body: { code: 'budget_currency', currency: 'EUR' } })
  const nobody = await mandateOf('nobody')
  expect((await call(nobody, '/dollars')).status).toBe(200)
  await kill(gateways[1])
  await startGateway(gateways[1] as Gateway, { ...environment, BUDGET_REQUIRED: 'true' })
  for (const path of ['/free', '/ok/1'])
    expect(await call(nobody, path, 1)).toMatchObject({ status: 403, body: { code: 'budget_required' } })
  expect(await call(mandate, '/free', 1)).toMatchObject({ status: 403, body: { code: 'budget_required' } })
  expect((await call(mandate, '/ok/1', 1)).status).toBe(200)
}, 120_000)

test('[P-045] while what is left cannot be known, and nothing is held for that time, a call that budgets count is refused with 503 and others go on; what is to settle is settled later', async () => {
  const [mandate, nobody] = [await mandateOf('away'), await mandateOf('nobody')]
  const hanging = call(mandate, '/hang')
  await expect.poll(() => upstream.held.length, PATIENT).toBe(1)
  sts.away = true
  upstream.held.pop()?.writeHead(200).end('late')
  expect((await hanging).status).toBe(200)
  expect(await call(mandate, '/ok/1')).toMatchObject({ status: 503, body: { code: 'sts_unavailable' } })
  expect((await call(nobody, '/ok/1')).status).toBe(200)
  sts.away = false
  // By then the charge may have expired: it counts all the same.
  await expect.poll(async () => (await standing('away')).spent, PATIENT).toBe('0.1')
  expect((await call(mandate, '/ok/1')).status).toBe(200)
}, 120_000)
