import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePorts, freshDatabaseUrl, redisUrl } from '@caracal/harness'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { caracal } from './installation.ts'
import { SERVICE_ROLES, type Service, type ServiceRole, type Services, startServices } from './services.ts'

const CHART_FILES = join(import.meta.dirname, '../../infra/helm/caracal/files')

const EVERY = [
  'caracal_build_info',
  'caracal_ready',
  'caracal_http_request_seconds',
  'caracal_event_loop_p99_seconds',
  'caracal_insecure_setting',
  'caracal_settings_refused',
]
const DATABASE = [
  'caracal_schema_compatible',
  'caracal_schema_pending',
  'caracal_db_pool_connections',
  'caracal_db_pool_max',
  'caracal_db_pool_wait_seconds',
]
const DECIDING = [
  'caracal_revocation_view_fresh',
  'caracal_revocation_view_age_seconds',
  'caracal_revocation_propagation_seconds',
  'caracal_policy_verified_age_seconds',
  'caracal_policy_load_failures_total',
]
const SPOOL = ['caracal_spool_records', 'caracal_spool_oldest_seconds', 'caracal_spool_used_ratio', 'caracal_spool_write_errors_total']
const OUTBOX = ['caracal_outbox_pending', 'caracal_outbox_dead', 'caracal_outbox_oldest_pending_seconds']

const ENFORCING = [
  'caracal_gateway_requests_total',
  'caracal_gateway_overhead_seconds',
  'caracal_gateway_sts_calls_total',
  'caracal_gateway_sts_circuit_open',
]
/** What alerts, dashboards and rollout gates stand on. */
const FAMILIES: Readonly<Record<ServiceRole, readonly string[]>> = {
  api: [...EVERY, ...DATABASE, ...OUTBOX],
  sts: [...EVERY, ...DATABASE, ...DECIDING, ...SPOOL, 'caracal_exchange_seconds', 'caracal_provider_refresh_total', 'caracal_task_overdue'],
  gateway: [...EVERY, ...DECIDING, ...SPOOL, ...ENFORCING],
  'mcp-adapter': [...EVERY, ...DECIDING, ...SPOOL, ...ENFORCING, 'caracal_mcp_requests_total', 'caracal_mcp_server_up'],
  audit: [
    ...EVERY,
    ...DATABASE,
    'caracal_stream_lag',
    'caracal_stream_oldest_pending_seconds',
    'caracal_audit_quarantine_records',
    'caracal_audit_quarantined_total',
    'caracal_audit_writers_lost',
    'caracal_ledger_verified',
    'caracal_ledger_checkpoint_age_seconds',
    'caracal_redis_used_bytes',
    'caracal_redis_limit_bytes',
    'caracal_redis_evicted_keys_total',
    'caracal_redis_noeviction',
    'caracal_task_overdue',
  ],
  coordinator: [...EVERY, ...DATABASE, ...DECIDING, ...OUTBOX, 'caracal_task_overdue'],
}

const ROLES: readonly ServiceRole[] = [...SERVICE_ROLES, 'mcp-adapter']

async function scraped(service: Service): Promise<string> {
  const response = await fetch(`${service.metrics}/metrics`)
  expect(response.status).toBe(200)
  return await response.text()
}

describe('services as they are operated', () => {
  let services: Services
  beforeAll(async () => {
    services = await startServices({
      databaseUrl: await freshDatabaseUrl(),
      redisUrl: redisUrl(),
      firstPort: await freePorts(20),
      replicas: { 'mcp-adapter': 1 },
      environment: { MCP_SERVERS: 'tools=http://127.0.0.1:9/mcp' },
    })
  })
  afterAll(() => services?.stop())

  test.each(ROLES)('[1-09] %s exposes every family that alerts and gates stand on, and counters begin at 0', async (role) => {
    const body = await scraped(services.service(role))
    const declared = new Set([...body.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name))
    expect(FAMILIES[role].filter((name) => !declared.has(name))).toEqual([])
    for (const [, name] of body.matchAll(/^# TYPE (caracal_\S+_total) counter$/gm)) expect(name).toMatch(/_total$/)
    for (const name of ['caracal_spool_write_errors_total', 'caracal_policy_load_failures_total', 'caracal_redis_evicted_keys_total'])
      if (declared.has(name)) expect(body).toMatch(new RegExp(`^${name} 0$`, 'm'))
  })

  test('[1-09] every metric of ours that the chart’s alerts and dashboards ask for is in a live scrape', async () => {
    const declared = new Set<string>()
    for (const role of ROLES)
      for (const [, name = ''] of (await scraped(services.service(role))).matchAll(/^# TYPE (\S+) /gm)) declared.add(name)
    const files = readdirSync(CHART_FILES, { recursive: true, withFileTypes: true }).filter((one) => /\.(?:json|yaml)$/.test(one.name))
    const asked = files
      .filter(({ name }) => name !== 'contract.yaml')
      .flatMap(({ parentPath, name }) => readFileSync(join(parentPath, name), 'utf8').match(/\bcaracal_[a-z0-9_]+/g) ?? [])
    expect(asked.length).toBeGreaterThan(30)
    const known = (name: string) => declared.has(name) || declared.has(name.replace(/_(?:bucket|sum|count)$/, ''))
    expect([...new Set(asked)].filter((name) => !known(name)).sort()).toEqual([])
  })

  test('[1-09] values say what is: ready, schema current, pool known, Redis not evicting, nothing overdue', async () => {
    const audit = await scraped(services.service('audit'))
    expect(audit).toMatch(/^caracal_ready 1$/m)
    expect(audit).toMatch(/^caracal_schema_compatible 1$/m)
    expect(audit).toMatch(/^caracal_schema_pending 0$/m)
    expect(audit).toMatch(/^caracal_redis_noeviction 1$/m)
    expect(audit).not.toMatch(/^caracal_task_overdue\{.*\} 1$/m)
    expect(Number(/^caracal_redis_used_bytes (\d+)$/m.exec(audit)?.[1])).toBeGreaterThan(0)
    expect(Number(/^caracal_db_pool_wait_seconds_count (\d+)$/m.exec(audit)?.[1])).toBeGreaterThan(0)
    for (const role of ['sts', 'gateway', 'coordinator']) {
      const body = await scraped(services.service(role))
      expect(Number(/^caracal_policy_verified_age_seconds (\S+)$/m.exec(body)?.[1])).toBeLessThan(30)
      expect(Number(/^caracal_revocation_view_age_seconds (\S+)$/m.exec(body)?.[1])).toBeLessThan(5)
    }
  })

  test('metrics stand on their own port only, and that port serves nothing else', async () => {
    for (const { url, metrics } of services.all) {
      expect((await fetch(`${url}/metrics`)).status).toBe(404)
      expect((await fetch(`${metrics}/v1/zones`)).status).toBe(404)
      for (const probe of ['/livez', '/health', '/ready']) {
        expect((await fetch(`${url}${probe}`)).status, `${url}${probe}`).toBe(200)
        expect((await fetch(`${metrics}${probe}`)).status, `${metrics}${probe}`).toBe(200)
      }
    }
  })
})

test('without Redis, the streams in Postgres: every role is ready and the canary passes', async () => {
  const services = await startServices({
    databaseUrl: await freshDatabaseUrl(),
    redisUrl: redisUrl(),
    firstPort: await freePorts(20),
    environment: { STREAMS_DRIVER: 'postgres', REDIS_URL: '' },
  })
  try {
    const canary = await services.caracal(['canary'])
    expect(canary.code, canary.stderr + canary.stdout).toBe(0)
  } finally {
    await services.stop()
  }
}, 120_000)

test('[0-24] a role does not start on a schema that demands a newer version: 78, and says both levels', async () => {
  const url = await freshDatabaseUrl()
  expect((await caracal(['db', 'migrate', 'up'], { DATABASE_URL: url })).code).toBe(0)
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query('UPDATE schema_floor SET floor = 9999')
  await client.end()
  const key = () => randomBytes(32).toString('hex')
  const ran = await caracal(['serve', 'api'], {
    DATABASE_URL: url,
    REDIS_URL: redisUrl(),
    STS_URL: 'http://127.0.0.1:9',
    AUDIT_HMAC_KEY: key(),
    STREAMS_HMAC_KEY: key(),
    GATEWAY_STS_HMAC_KEY: key(),
  })
  expect(ran.code).toBe(78)
  expect(ran.stderr).toContain('demands a release of level 9999 or higher')
  expect(ran.stderr).toContain('roll forward')
})
