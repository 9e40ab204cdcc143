import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freshDatabaseUrl, redisUrl } from '@caracal/harness'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { caracal, freeOffset } from './installation.ts'

const MAIN = join(import.meta.dirname, '../../apps/cli/src/main.ts')
const ROLES = { api: 3000, sts: 8080, gateway: 8081, audit: 9090, coordinator: 4000 } as const
type Role = keyof typeof ROLES
const NAMES = Object.keys(ROLES) as Role[]

const hex = () => randomBytes(32).toString('hex')
const token = () => `cat_${randomBytes(32).toString('base64url')}`

let offset = 0
let environment: Record<string, string> = {}
const state = mkdtempSync(join(tmpdir(), 'caracal-serve-'))
const running = new Map<Role, { readonly child: ChildProcess; readonly said: string[] }>()

const port = (role: Role) => ROLES[role] + offset
const url = (role: Role) => `http://127.0.0.1:${port(role)}`

function serve(role: Role): void {
  const child = spawn(process.execPath, [MAIN, 'serve', role], {
    env: {
      PATH: process.env.PATH,
      ...environment,
      PORT: String(port(role)),
      METRICS_PORT: String(9464 + NAMES.indexOf(role) + offset),
      SPOOL_DIR: join(state, role),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const said: string[] = []
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => said.push(String(chunk)))
  running.set(role, { child, said })
}

async function ready(role: Role): Promise<void> {
  const deadline = Date.now() + 30_000
  while (
    !(await fetch(`${url(role)}/ready`).then(
      ({ ok }) => ok,
      () => false,
    ))
  ) {
    if (Date.now() > deadline) throw new Error(`${role} does not become ready: ${running.get(role)?.said.join('')}`)
    await sleep(100)
  }
}

async function end(role: Role, signal: NodeJS.Signals): Promise<number | null> {
  const { child } = running.get(role) ?? {}
  if (child === undefined) return null
  const gone = new Promise<number | null>((resolve) => child.once('exit', resolve))
  child.kill(signal)
  return gone
}

const canary = async () => {
  const ran = await caracal(['--json', 'canary'], {
    ...Object.fromEntries(NAMES.map((role) => [`CARACAL_${role.toUpperCase()}_URL`, url(role)])),
    CARACAL_TOKEN: environment.ADMIN_TOKEN ?? '',
  })
  return { code: ran.code, report: JSON.parse(ran.stdout) as { ok: boolean; steps: { name: string; ok: boolean }[] }, text: ran.stdout }
}

beforeAll(async () => {
  offset = await freeOffset()
  environment = {
    CARACAL_MODE: 'dev',
    HOST: '127.0.0.1',
    LOG_LEVEL: 'warn',
    DATABASE_URL: await freshDatabaseUrl(),
    STREAMS_DRIVER: 'redis',
    REDIS_URL: redisUrl(),
    ISSUER_URL: url('sts'),
    STS_URL: url('sts'),
    COORDINATOR_URL: url('coordinator'),
    AUDIT_URL: url('audit'),
    ZONE_KEK: hex(),
    AUDIT_HMAC_KEY: hex(),
    STREAMS_HMAC_KEY: hex(),
    GATEWAY_STS_HMAC_KEY: hex(),
    ADMIN_TOKEN: token(),
    COORDINATOR_TOKEN: token(),
    STS_ADMIN_TOKEN: token(),
    AUDIT_ADMIN_TOKEN: token(),
  }
  const migrated = await caracal(['db', 'migrate', 'up'], { DATABASE_URL: environment.DATABASE_URL ?? '' })
  if (migrated.code !== 0) throw new Error(migrated.stderr)
  for (const role of NAMES) serve(role)
  await Promise.all(NAMES.map(ready))
}, 60_000)

afterAll(async () => {
  await Promise.all(NAMES.map((role) => (running.get(role)?.child.exitCode === null ? end(role, 'SIGKILL') : null)))
  rmSync(state, { recursive: true, force: true })
})

describe('caracal serve: five processes on Postgres and Redis', () => {
  test('the canary passes', async () => {
    const { code, report, text } = await canary()
    expect(report.ok, text).toBe(true)
    expect(code).toBe(0)
  }, 30_000)

  test.each(NAMES)('%s answers its probes, its version and its metrics', async (role) => {
    for (const path of ['/livez', '/health', '/version']) expect((await fetch(url(role) + path)).status, path).toBe(200)
    await ready(role) // on a machine that is busy enough a heartbeat comes late, and a replica says so
    const metrics = await fetch(`http://127.0.0.1:${9464 + NAMES.indexOf(role) + offset}/metrics`)
    expect(await metrics.text()).toContain('caracal_')
  })

  test('without a Gateway the canary fails at the governed call and says so', async () => {
    await end('gateway', 'SIGKILL')
    const { code, report } = await canary()
    expect(code).toBe(1)
    expect(report.ok).toBe(false)
    expect(report.steps.at(-1)).toMatchObject({ name: 'governed call', ok: false })
    serve('gateway')
    await ready('gateway')
    expect((await canary()).report.ok).toBe(true)
  }, 60_000)

  test('every role killed at once and started again: the canary passes, the ledger verifies', async () => {
    await Promise.all(NAMES.map((role) => end(role, 'SIGKILL')))
    for (const role of NAMES) serve(role)
    await Promise.all(NAMES.map(ready))
    const { report, text } = await canary()
    expect(report.ok, text).toBe(true)
    const verified = await caracal(['audit', 'verify', '--zone', 'canary'], {
      CARACAL_API_URL: url('api'),
      CARACAL_AUDIT_URL: url('audit'),
      CARACAL_TOKEN: environment.ADMIN_TOKEN ?? '',
    })
    expect(verified.code, verified.stdout + verified.stderr).toBe(0)
  }, 60_000)

  test('[P-145] SIGTERM ends every role with 0 within 15 s', async () => {
    const began = Date.now()
    expect(await Promise.all(NAMES.map((role) => end(role, 'SIGTERM')))).toEqual(NAMES.map(() => 0))
    expect(Date.now() - began).toBeLessThan(15_000)
  }, 30_000)

  test.each(NAMES)('%s with a wrong configuration exits with 78 and names every problem', async (role) => {
    const ran = await caracal(['serve', role], { PORT: 'abc', LOG_LEVEL: 'loud' })
    expect(ran.code).toBe(78)
    expect(ran.stderr).toContain('PORT must be')
    expect(ran.stderr).toContain('LOG_LEVEL must be')
    expect(ran.stderr).toContain('is required')
    expect(ran.stderr).not.toMatch(/\n {4}at /)
  })
})
