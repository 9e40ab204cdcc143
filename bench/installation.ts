import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '@caracal/harness'
import { caracal, type Ran } from '../tests/e2e/installation.ts'
import { startUpstream } from './haproxy.ts'
import { memory } from './memory.ts'
import { type ProcessorTime, processorTime } from './processor-time.ts'
import { type Server, started, untilListens } from './server.ts'
import { type Stores, startStores } from './stores.ts'

const MAIN = join(import.meta.dirname, '../apps/cli/src/main.ts')
const ROLES = ['sts', 'api', 'audit', 'coordinator', 'gateway'] as const
export type Role = (typeof ROLES)[number] | 'mcp-adapter'

/** A name only: nobody calls it. */
const ISSUER = 'https://sts.bench.internal'

export type Service = Server & { readonly metrics: string }

/** Caracal as it runs in production, on loopback: five processes, Postgres with fsync, Redis, evidence written ahead. */
export type Installation = {
  readonly folder: string
  readonly issuer: string
  readonly stores: Stores
  readonly upstream: Server
  readonly services: Readonly<Record<(typeof ROLES)[number], Service>>
  /** Reads evidence; administers everything. */
  readonly tokens: { readonly audit: string; readonly admin: string }
  /** A further process of a role, with these settings besides. Its time is counted under `name`. */
  another(role: Role, name: string, settings?: Readonly<Record<string, string>>): Promise<Service>
  /** Counts the time of this process too, and ends it with the rest if nobody did before. */
  watch(server: Server): Server
  time(): ProcessorTime
  /** Resident MiB of every process that is counted and runs, by name. */
  memory(): Readonly<Record<string, number>>
  /** The last words of every process that said something: warnings, errors, how it ended. */
  said(): string
  caracal(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Ran>
  stop(): Promise<void>
}

const hex = () => randomBytes(32).toString('hex')
const token = () => `cat_${randomBytes(32).toString('base64url')}`

/** Starts everything; resolves when every role is ready. What was started is ended again when something does not start. */
export async function startInstallation(): Promise<Installation> {
  const folder = mkdtempSync(join(tmpdir(), 'caracal-bench-'))
  const stores = await startStores(ROLES)
  const servers: Server[] = []
  const stop = async () => {
    await Promise.all(servers.map((server) => server.stop()))
    await stores.stop()
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    return await startServices(folder, stores, servers, stop)
  } catch (error) {
    const said = lastWords(servers)
    await stop()
    throw new Error(`${error instanceof Error ? error.message : String(error)}\n${said}`, { cause: error })
  }
}

function lastWords(servers: readonly Server[]): string {
  return servers
    .filter((server) => server.said() !== '')
    .map((server) => `${server.name}: ${server.said()}`)
    .join('\n')
}

async function startServices(folder: string, stores: Stores, servers: Server[], stop: () => Promise<void>): Promise<Installation> {
  const upstream = await startUpstream(folder)
  const ports = Object.fromEntries(await Promise.all(ROLES.map(async (role) => [role, await freePort()]))) as Record<
    keyof Installation['services'],
    number
  >
  const url = (role: keyof Installation['services']) => `http://127.0.0.1:${ports[role]}`
  const environment: Record<string, string> = {
    CARACAL_MODE: 'stable',
    HOST: '127.0.0.1',
    LOG_LEVEL: 'warn',
    NODE_ENV: 'production',
    EVIDENCE: 'write-ahead',
    // One application makes all calls of some scenarios: its rate is what is measured, not what is limited.
    APPLICATION_RATE: '0',
    STREAMS_DRIVER: 'redis',
    REDIS_URL: `${stores.redis.url}/0`,
    ISSUER_URL: ISSUER,
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
  const migrated = await caracal(['db', 'migrate', 'up'], { DATABASE_URL: stores.postgres.url })
  if (migrated.code !== 0) throw new Error(migrated.stderr)

  const watched: { name: string; pid: number; withChildren?: boolean }[] = [...stores.watched]
  const watch = (server: Server): Server => {
    watched.push({ name: server.name, pid: server.pid })
    servers.push(server)
    return server
  }
  const serve = async (role: Role, name: string, port: number, settings: Readonly<Record<string, string>> = {}): Promise<Service> => {
    const metrics = await freePort()
    const spool = join(folder, name)
    mkdirSync(spool)
    const child = spawn(process.execPath, [MAIN, 'serve', role], {
      env: {
        PATH: process.env.PATH,
        ...environment,
        DATABASE_URL: stores.urlFor(role),
        PORT: String(port),
        METRICS_PORT: String(metrics),
        SPOOL_DIR: spool,
        ...settings,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const server = watch(started(child, port, name))
    await untilListens(server)
    await untilReady(server.url)
    return { ...server, metrics: `http://127.0.0.1:${metrics}/metrics` }
  }
  watch(upstream)
  const services = await Promise.all(ROLES.map(async (role) => [role, await serve(role, role, ports[role])] as const))
  return {
    folder,
    stores,
    upstream,
    services: Object.fromEntries(services) as Installation['services'],
    issuer: ISSUER,
    tokens: { audit: environment.AUDIT_ADMIN_TOKEN ?? '', admin: environment.ADMIN_TOKEN ?? '' },
    another: async (role, name, settings) => serve(role, name, await freePort(), settings),
    watch,
    time: () => processorTime(watched),
    memory: () => memory(watched),
    said: () => lastWords(servers),
    caracal: (args, env = {}) =>
      caracal(args, {
        ...Object.fromEntries(ROLES.map((role) => [`CARACAL_${role.toUpperCase()}_URL`, url(role)])),
        CARACAL_TOKEN: environment.ADMIN_TOKEN ?? '',
        ...env,
      }),
    stop,
  }
}

/** Waits for a minute until the service says that calls may come. */
export async function untilReady(url: string): Promise<void> {
  const deadline = Date.now() + 60_000
  for (;;) {
    const answer = await fetch(`${url}/ready`).catch(() => undefined)
    if (answer?.ok) return
    if (Date.now() > deadline) throw new Error(`${url} does not become ready: ${await answer?.text()}`)
    await sleep(50)
  }
}
