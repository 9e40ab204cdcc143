import { rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { readStandings } from '@caracal/budgets'
import { type Budget, type BudgetHolder, newId, parseAmount } from '@caracal/core'
import { freePorts, type PostgresServer, startPostgres } from '@caracal/harness'
import { createBudget, listUsage } from '@caracal/postgres'
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { established, openWorld, type World } from '../../apps/sts/src/test-support/world.ts'
import { sharedKeys } from '../attacks/gateway-beside.ts'
import { type Gateway, gatewayOn, kill, startGateway, startUpstream, type Upstream } from './processes.ts'

const PATIENT = { timeout: 60_000, interval: 200 }
/** Three hundred calls. */
const LIMIT = parseAmount('3.00') as bigint
const PRICE = 10_000n

let server: PostgresServer
let world: World
let upstream: Upstream
let environment: Record<string, string>
let zone: Budget['zone']
let budget: Budget
let mandate = ''
const gateways: Gateway[] = []

beforeAll(async () => {
  upstream = await startUpstream()
  server = await startPostgres({ durable: true })
  const keys = sharedKeys()
  world = await openWorld({ databaseUrl: server.url, environment: keys })
  zone = (await world.zone()).id
  const operation = (path: string) => ({ method: 'GET', path, scope: 'use', price: { amount: '0.01', currency: 'EUR' } })
  const resource = await world.resource(zone, {
    name: 'shop',
    upstream: `http://127.0.0.1:${upstream.port}`,
    egressAllow: ['127.0.0.0/8'],
    scopes: ['use'],
    operations: [operation('/ok/{n}'), operation('/hang')],
  })
  await world.policy(zone, 'kind: Policy\nname: all\nrules:\n  - { id: all, allow: ["*"], on: ["*"], for: { any: true } }\n')
  const client = await world.application(zone)
  const limit = { amount: '3.00', currency: 'EUR' }
  const fields = { name: 'spender', holder: client.id as BudgetHolder, limit, window: 'total', per: null } as const
  budget = established(await createBudget(world.fixtures.query, { ...fields, id: newId('budget'), zone }, Date.now()))
  // One more change of the zone: what was made beside it is loaded with it.
  await world.application(zone)
  const answer = await world.ask(client, { resource: resource.identifier, ttl: '900' })
  mandate = answer.access_token ?? ''
  environment = {
    CARACAL_MODE: 'dev',
    METRICS_PORT: '0',
    LOG_LEVEL: 'fatal',
    STREAMS_DRIVER: 'postgres',
    DATABASE_URL: server.url,
    STS_URL: world.sts.address.url,
    PROVISIONAL_CHARGE_SLICE: '25',
    // Revocations come by Postgres too: without it they are proven for so long.
    REVOCATION_MAX_AGE: '60s',
    ...keys,
  }
  const first = await freePorts(2)
  for (const port of [first, first + 1]) gateways.push(gatewayOn(port))
  await Promise.all(gateways.map((gateway) => startGateway(gateway, environment)))
}, 240_000)

afterAll(async () => {
  await Promise.all(gateways.map((gateway) => kill(gateway)))
  await world?.close()
  await server?.stop()
  upstream?.stop()
  for (const { spool } of gateways) rmSync(spool, { recursive: true, force: true })
})

type Answer = { readonly status: number; readonly code: string | undefined; readonly degraded: string | null; readonly request: string }

async function call(at: number, path: string): Promise<Answer> {
  const answer = await fetch(`${gateways[at]?.url}/r/shop${path}`, { headers: { authorization: `Bearer ${mandate}` } })
  const text = await answer.text()
  const header = (name: string) => answer.headers.get(name)
  const code = text.startsWith('{') ? (JSON.parse(text) as { code?: string }).code : undefined
  return { status: answer.status, code, degraded: header('x-caracal-degraded'), request: header('x-request-id') ?? '' }
}

async function standing() {
  const found = (await readStandings(world.fixtures.query, zone, [budget], Date.now())).get(budget.id)
  const micros = (name: 'spent' | 'reserved' | 'held') => parseAmount(found?.[name] ?? '') as bigint
  return { spent: micros('spent'), reserved: micros('reserved'), held: micros('held') }
}

async function holders(): Promise<number> {
  const { rows } = await sql<{ n: number }>`select count(*)::int as n from budget_slices where amount > 0`.execute(world.fixtures.query)
  return rows[0]?.n ?? 0
}

test('[4-17] [P-045] Postgres stopped under load, two Gateways, one of them killed: what was held is spent and marked, then 503; afterwards each call is counted once, and the limit was never passed', async () => {
  const answers: Answer[] = []
  for (const at of [0, 1]) expect((await call(at, '/ok/first')).status).toBe(200)
  await expect.poll(holders, PATIENT).toBe(2)

  let loading = true
  const load = [0, 1, 0, 1].map(async (at) => {
    while (loading) {
      const answer = await call(at, '/ok/1').catch(() => undefined)
      if (answer !== undefined) answers.push(answer)
      await sleep(answer?.status === 200 ? 30 : 200)
    }
  })
  await expect.poll(() => answers.length, PATIENT).toBeGreaterThan(10)
  await server.end('SIGINT')
  const degraded = () => answers.filter(({ status, degraded }) => status === 200 && degraded === 'unconfirmed')
  await expect.poll(() => degraded().length, PATIENT).toBeGreaterThan(4)

  // A call that is out when its Gateway is killed: it may have had its effect.
  const before = upstream.held.length
  const hanging = call(1, '/hang').catch(() => undefined)
  await expect.poll(() => upstream.held.length - before, PATIENT).toBe(1)
  await kill(gateways[1])
  await hanging
  upstream.held.length = 0

  // What the other holds is used up: the stable reason, and nothing goes out.
  await expect.poll(() => answers.at(-1)?.status, PATIENT).toBe(503)
  loading = false
  await Promise.all(load)
  expect(['store_unavailable', 'sts_unavailable']).toContain((await call(0, '/ok/none')).code)
  expect(BigInt(upstream.calls) * PRICE <= LIMIT).toBe(true)
  const spent = degraded()

  await server.start()
  await startGateway(gateways[1] as Gateway, environment)
  const usage = async () => {
    const found = await listUsage(world.fixtures.query, zone, {}, { limit: 1_000 })
    return found.items
  }
  await expect
    .poll(async () => {
      const counted = new Set((await usage()).map(({ request }) => request as string))
      return spent.filter(({ request }) => !counted.has(request)).length
    }, PATIENT)
    .toBe(0)
  const all = await usage()
  expect(new Set(all.map(({ request }) => request)).size).toBe(all.length)
  expect(all.filter(({ operation }) => operation === 'GET /hang')).toHaveLength(1)
  const marked = async () => {
    const { rows } = await sql<{ payload: string }>`select payload from stream_work where payload like '%"degraded":true%'`.execute(
      world.fixtures.query,
    )
    return rows.length
  }
  await expect.poll(marked, PATIENT).toBeGreaterThan(0)

  // It goes on until the limit, and not by one call further.
  for (let refused = 0; refused < 4; ) {
    const found = await Promise.all([0, 1, 0, 1].map((at) => call(at, '/ok/2')))
    refused = found.filter(({ status }) => status === 403).length
    if (found.some(({ status }) => status === 503)) await sleep(200)
  }
  expect(BigInt(upstream.calls) * PRICE <= LIMIT).toBe(true)
  await Promise.all(gateways.map((gateway) => kill(gateway, 'SIGTERM')))
  const { spent: counted, reserved, held } = await standing()
  expect(held).toBe(0n)
  expect(counted + reserved <= LIMIT).toBe(true)
  // Whatever reached the upstream is counted, or still reserved: charged before Postgres went, by the Gateway that was killed.
  expect(counted + reserved >= BigInt(upstream.calls) * PRICE).toBe(true)
  expect(counted).toBe((await usage()).reduce((sum, { amount }) => sum + (parseAmount(amount) ?? 0n), 0n))
}, 300_000)
