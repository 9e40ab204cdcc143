import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '@caracal/harness'
import { caracal } from '../e2e/installation.ts'

const MAIN = join(import.meta.dirname, '../../apps/cli/src/main.ts')

type Role = 'sts' | 'api' | 'audit' | 'coordinator' | 'gateway'

/** A process of a role. */
export type Replica = { readonly name: string; readonly url: string; readonly metrics: string }

/** What came back of a JSON surface. */
// biome-ignore lint/suspicious/noExplicitAny: answers are looked into by tests that know their shape
export type Answered<T = any> = { readonly status: number; readonly body: T }

export type Client = { readonly id: string; readonly secret: string }

/** Caracal on a real Postgres and a real Redis, every role a process of its own, two Gateways and two STS. */
export type Cluster = {
  readonly api: Replica
  readonly coordinator: Replica
  readonly audit: Replica
  readonly sts: readonly [Replica, Replica]
  readonly gateways: readonly [Replica, Replica]
  readonly adminToken: string
  /** The API as an administrator; a POST has an idempotency key of its own. */
  admin<T>(method: string, path: string, body?: unknown): Promise<Answered<T>>
  /** Applies documents; secrets by where the documents say that they come from (`env:NAME`). */
  apply(documents: string, secrets?: Readonly<Record<string, string>>): Promise<void>
  /** The Coordinator, with a mandate for Caracal itself. */
  coordinate<T>(method: string, path: string, token: string, body?: unknown): Promise<Answered<T>>
  /** The token endpoint. */
  token(client: Client, form: Readonly<Record<string, string>>, replica?: 0 | 1): Promise<Answered>
  /** A new secret of the application. */
  credential(zone: string, application: string): Promise<Client>
  /** Evidence of the zone that the query finds, newest first. */
  events(zone: string, query?: Readonly<Record<string, string>>): Promise<readonly Record<string, unknown>[]>
  stop(): Promise<void>
}

const hex = () => randomBytes(32).toString('hex')
const token = () => `cat_${randomBytes(32).toString('base64url')}`

/** Starts every role on empty stores; resolves when all are ready. */
export async function startCluster(stores: { readonly databaseUrl: string; readonly redisUrl: string }): Promise<Cluster> {
  const folder = mkdtempSync(join(tmpdir(), 'caracal-cluster-'))
  const children: ChildProcess[] = []
  const port = { sts: await freePort(), api: await freePort(), audit: await freePort(), coordinator: await freePort() }
  const url = (role: keyof typeof port) => `http://127.0.0.1:${port[role]}`
  const environment: Record<string, string> = {
    CARACAL_MODE: 'dev',
    HOST: '127.0.0.1',
    LOG_LEVEL: 'warn',
    DATABASE_URL: stores.databaseUrl,
    STREAMS_DRIVER: 'redis',
    REDIS_URL: stores.redisUrl,
    ISSUER_URL: url('sts'),
    STS_URL: url('sts'),
    COORDINATOR_URL: url('coordinator'),
    AUDIT_URL: url('audit'),
    SESSIONS_PER_ZONE: '100000',
    SESSIONS_PER_APPLICATION: '100000',
    SESSIONS_PER_PARENT: '10000',
    ZONE_KEK: hex(),
    AUDIT_HMAC_KEY: hex(),
    STREAMS_HMAC_KEY: hex(),
    GATEWAY_STS_HMAC_KEY: hex(),
    ADMIN_TOKEN: token(),
    COORDINATOR_TOKEN: token(),
    STS_ADMIN_TOKEN: token(),
    AUDIT_ADMIN_TOKEN: token(),
  }
  const migrated = await caracal(['db', 'migrate', 'up'], { DATABASE_URL: stores.databaseUrl })
  if (migrated.code !== 0) throw new Error(migrated.stderr)

  const serve = async (role: Role, name: string, at: number): Promise<Replica> => {
    const metrics = await freePort()
    const spool = join(folder, name)
    mkdirSync(spool)
    const child = spawn(process.execPath, [MAIN, 'serve', role], {
      env: { PATH: process.env.PATH, ...environment, PORT: String(at), METRICS_PORT: String(metrics), SPOOL_DIR: spool },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    children.push(child)
    const said: string[] = []
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => said.push(String(chunk)))
    const replica = { name, url: `http://127.0.0.1:${at}`, metrics: `http://127.0.0.1:${metrics}/metrics` }
    await untilReady(replica.url, () => `${name}: ${said.join('')}`)
    return replica
  }
  const stop = async () => {
    const alive = children.filter((child) => child.exitCode === null && child.signalCode === null)
    const gone = alive.map((child) => new Promise((resolve) => child.once('exit', resolve)))
    for (const child of alive) child.kill('SIGKILL')
    await Promise.all(gone)
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    const [sts, api, audit, coordinator] = await Promise.all([
      serve('sts', 'sts', port.sts),
      serve('api', 'api', port.api),
      serve('audit', 'audit', port.audit),
      serve('coordinator', 'coordinator', port.coordinator),
    ])
    const [secondSts, gateway, secondGateway] = await Promise.all([
      serve('sts', 'sts-2', await freePort()),
      serve('gateway', 'gateway', await freePort()),
      serve('gateway', 'gateway-2', await freePort()),
    ])
    const stses = [sts, secondSts] as const
    const adminToken = environment.ADMIN_TOKEN ?? ''
    const admin: Cluster['admin'] = (method, path, body) => call(method, api.url + path, adminToken, body)
    return {
      api,
      coordinator,
      audit,
      sts: stses,
      gateways: [gateway, secondGateway],
      adminToken,
      admin,
      async apply(documents, secrets = {}) {
        const body = { mode: 'apply', activate: true, documents: [{ file: 'cluster.yaml', text: documents }], secrets }
        const { status, body: answer } = await admin('POST', '/v1/apply', body)
        if (status !== 200) throw new Error(JSON.stringify(answer))
      },
      coordinate: (method, path, bearer, body) => call(method, coordinator.url + path, bearer, body),
      async token({ id, secret }, form, replica = 0) {
        const answer = await fetch(`${stses[replica].url}/oauth/2/token`, {
          method: 'POST',
          headers: { authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}` },
          body: new URLSearchParams({ grant_type: 'client_credentials', ...form }),
        })
        return { status: answer.status, body: await answer.json() }
      },
      async credential(zone, application) {
        const path = `/v1/zones/${zone}/applications/${application}/credentials`
        const { status, body } = await admin<Record<string, string>>('POST', path, { kind: 'secret' })
        if (status !== 201) throw new Error(JSON.stringify(body))
        return { id: body.client_id ?? '', secret: body.client_secret ?? '' }
      },
      async events(zone, query = {}) {
        const target = new URL(`${audit.url}/v1/zones/${zone}/events`)
        for (const [name, value] of Object.entries({ limit: '200', ...query })) target.searchParams.set(name, value)
        const found = await call<{ items: Record<string, unknown>[] }>('GET', target.href, environment.AUDIT_ADMIN_TOKEN ?? '')
        if (found.status !== 200) throw new Error(JSON.stringify(found.body))
        return found.body.items
      },
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

async function call<T>(method: string, url: string, bearer: string, body?: unknown): Promise<Answered<T>> {
  const answer = await fetch(url, {
    method,
    headers: {
      authorization: `Bearer ${bearer}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(method === 'POST' ? { 'idempotency-key': `"${randomUUID()}"` } : {}),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  return { status: answer.status, body: (text === '' ? undefined : JSON.parse(text)) as T }
}

async function untilReady(url: string, said: () => string): Promise<void> {
  const deadline = Date.now() + 90_000
  for (;;) {
    const answer = await fetch(`${url}/ready`).catch(() => undefined)
    if (answer?.ok) return
    if (Date.now() > deadline) throw new Error(`not ready: ${(await answer?.text()) ?? ''} ${said()}`)
    await sleep(100)
  }
}
