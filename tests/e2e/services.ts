import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Balancer, startBalancer } from './balancer.ts'
import { caracal, type Ran } from './installation.ts'

const MAIN = join(import.meta.dirname, '../../apps/cli/src/main.ts')

export const SERVICE_ROLES = ['sts', 'api', 'audit', 'coordinator', 'gateway'] as const
/** There only when `replicas` says so. */
const OPTIONAL_ROLES = ['mcp-adapter'] as const
export type ServiceRole = (typeof SERVICE_ROLES)[number] | (typeof OPTIONAL_ROLES)[number]
const ROLES = [...SERVICE_ROLES, ...OPTIONAL_ROLES]

/** One role as a process of its own, on the same port each time it is started. */
export type Service = {
  readonly role: ServiceRole
  /** `sts` for the first of a role, `sts-2` for the second. */
  readonly name: string
  readonly url: string
  readonly metrics: string
  readonly spool: string
  /** Starts the process; resolves when it is ready. `environment` is added to that of all. */
  start(environment?: Readonly<Record<string, string>>): Promise<void>
  /** Ends the process; resolves with its exit code when it is gone, null when a signal ended it or when it did not run. */
  end(signal: NodeJS.Signals): Promise<number | null>
  /** To the process as it runs: SIGSTOP makes it hang without closing anything, SIGCONT lets it go on. */
  signal(signal: NodeJS.Signals): void
  runs(): boolean
  /** Number of the process; undefined when it does not run. */
  pid(): number | undefined
  /** What `/ready` says: the status and the reasons; status 0 when nothing answers. */
  ready(): Promise<{ readonly status: number; readonly reasons: readonly string[] }>
  /** Everything that the process printed since it was first started. */
  said(): string
}

/** Caracal as `caracal serve` runs it: every role a process, all on one Postgres and one Redis. */
export type Services = {
  /** Where a role answers: its only process, or what spreads connections over them. */
  readonly urls: Readonly<Record<ServiceRole, string>>
  readonly environment: Readonly<Record<string, string>>
  readonly all: readonly Service[]
  /** By name. @throws Error when there is none. */
  service(name: string): Service
  caracal(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Ran>
  stop(): Promise<void>
}

export type ServicesOptions = {
  readonly databaseUrl: string
  readonly redisUrl: string
  /** The first of 20 ports in a row that are free. */
  readonly firstPort: number
  /** Processes of a role; one unless said otherwise, and none of the MCP Adapter. */
  readonly replicas?: Partial<Readonly<Record<ServiceRole, number>>>
  readonly environment?: Readonly<Record<string, string>>
  /** A folder: keys, tokens and logins are handed over as files in it, each named like its setting. */
  readonly secretsIn?: string
}

/** What can be handed over as a file that changes while a service runs. */
const SECRET = /_KEY$|_KEK$|_TOKEN$|^METRICS_BEARER$|^(?:DATABASE|REDIS)_URL$/

const hex = () => randomBytes(32).toString('hex')
const token = () => `cat_${randomBytes(32).toString('base64url')}`

/** Migrates the database and starts every role; resolves when all are ready. */
export async function startServices(options: ServicesOptions): Promise<Services> {
  const state = mkdtempSync(join(tmpdir(), 'caracal-services-'))
  let nextPort = options.firstPort
  const address = () => `http://127.0.0.1:${nextPort++}`
  const unasked = (role: ServiceRole) => (OPTIONAL_ROLES.some((one) => one === role) ? 0 : 1)
  const names = ROLES.flatMap((role) =>
    Array.from({ length: options.replicas?.[role] ?? unasked(role) }, (_, at) => ({ role, name: at === 0 ? role : `${role}-${at + 1}` })),
  )
  const places = names.map((one) => ({ ...one, url: address(), metrics: address(), spool: join(state, one.name) }))
  const balancers: Balancer[] = []
  const urls = {} as Record<ServiceRole, string>
  for (const role of ROLES) {
    const own = places.filter((place) => place.role === role).map(({ url }) => url)
    if (own.length > 1) {
      const balancer = await startBalancer(nextPort++, own)
      balancers.push(balancer)
      urls[role] = balancer.url
    } else urls[role] = own[0] ?? ''
  }
  const environment: Record<string, string> = {
    CARACAL_MODE: 'dev',
    HOST: '127.0.0.1',
    LOG_LEVEL: 'warn',
    DATABASE_URL: options.databaseUrl,
    STREAMS_DRIVER: 'redis',
    REDIS_URL: options.redisUrl,
    ISSUER_URL: urls.sts,
    STS_URL: urls.sts,
    COORDINATOR_URL: urls.coordinator,
    AUDIT_URL: urls.audit,
    ZONE_KEK: hex(),
    AUDIT_HMAC_KEY: hex(),
    STREAMS_HMAC_KEY: hex(),
    GATEWAY_STS_HMAC_KEY: hex(),
    ADMIN_TOKEN: token(),
    COORDINATOR_TOKEN: token(),
    STS_ADMIN_TOKEN: token(),
    AUDIT_ADMIN_TOKEN: token(),
    ...options.environment,
  }
  const handed = options.secretsIn === undefined ? environment : inFiles(environment, options.secretsIn)
  const all = places.map((place) => service(place, handed))
  const stop = async () => {
    await Promise.all(all.map((one) => one.end('SIGKILL')))
    await Promise.all(balancers.map((balancer) => balancer.stop()))
    rmSync(state, { recursive: true, force: true })
  }
  try {
    const migrated = await caracal(['db', 'migrate', 'up'], { DATABASE_URL: options.databaseUrl })
    if (migrated.code !== 0) throw new Error(migrated.stderr)
    await Promise.all(all.map((one) => one.start()))
  } catch (error) {
    await stop()
    throw error
  }
  return {
    urls,
    environment,
    all,
    service: (name) => {
      const found = all.find((one) => one.name === name)
      if (found === undefined) throw new Error(`there is no ${name}`)
      return found
    },
    caracal: (args, env = {}) =>
      caracal(args, {
        ...Object.fromEntries(SERVICE_ROLES.map((role) => [`CARACAL_${role.toUpperCase()}_URL`, urls[role]])),
        CARACAL_TOKEN: environment.ADMIN_TOKEN ?? '',
        ...env,
      }),
    stop,
  }
}

/** The same environment with `<NAME>_FILE` in the place of every secret; the given one shows from then on what the files say. */
function inFiles(environment: Record<string, string>, folder: string): Record<string, string> {
  const handed: Record<string, string> = {}
  for (const [name, value] of Object.entries(environment)) {
    if (!SECRET.test(name)) handed[name] = value
    else {
      const file = join(folder, name)
      writeFileSync(file, `${value}\n`, { mode: 0o600 })
      handed[`${name}_FILE`] = file
      Object.defineProperty(environment, name, { enumerable: true, get: () => readFileSync(file, 'utf8').split('\n')[0] })
    }
  }
  return handed
}

type Place = Pick<Service, 'role' | 'name' | 'url' | 'metrics' | 'spool'>

function service(place: Place, common: Readonly<Record<string, string>>): Service {
  const { role, name, url, metrics, spool } = place
  const said: string[] = []
  let child: ChildProcess | undefined
  const runs = () => child !== undefined && child.exitCode === null && child.signalCode === null
  const ready: Service['ready'] = async () => {
    try {
      const answer = await fetch(`${url}/ready`, { signal: AbortSignal.timeout(5_000) })
      const body = (await answer.json()) as { reasons?: string[] }
      return { status: answer.status, reasons: body.reasons ?? [] }
    } catch {
      return { status: 0, reasons: [] }
    }
  }
  return {
    ...place,
    runs,
    pid: () => (runs() ? child?.pid : undefined),
    ready,
    said: () => said.join(''),
    signal: (signal) => void child?.kill(signal),
    start: async (environment = {}) => {
      const started = spawn(process.execPath, [MAIN, 'serve', role], {
        env: {
          PATH: process.env.PATH,
          ...common,
          PORT: new URL(url).port,
          METRICS_PORT: new URL(metrics).port,
          SPOOL_DIR: spool,
          ...environment,
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      child = started
      for (const stream of [started.stdout, started.stderr]) stream.on('data', (chunk) => said.push(String(chunk)))
      const deadline = Date.now() + 60_000
      while ((await ready()).status !== 200) {
        // Ended by whoever started it: no failure of the start.
        if (started.signalCode !== null) return
        if (Date.now() > deadline || started.exitCode !== null)
          throw new Error(`${name} does not become ready: ${said.slice(-20).join('')}`)
        await sleep(50)
      }
    },
    end: async (signal) => {
      if (child === undefined || !runs()) return null
      const gone = once(child, 'exit')
      child.kill('SIGCONT') // what was stopped would never hear of it
      child.kill(signal)
      const [code] = (await gone) as [number | null]
      return code
    },
  }
}
