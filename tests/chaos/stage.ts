import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePorts, type PostgresServer, type RedisServer, startPostgres, startRedis } from '@caracal/harness'
import { startUpstream, type Upstream } from '../e2e/lab.ts'
import { type ServiceRole, type Services, startServices } from '../e2e/services.ts'

export const RESOURCE = 'https://chaos.example/'
const KEY = 'chaos-upstream-key-0123456789abcdef'

const documents = (port: number) => `
kind: Zone
name: chaos
---
kind: Application
zone: chaos
name: agent
labels: [agents]
---
kind: Provider
zone: chaos
name: chaos-key
method: api_key
placement: { in: header, name: X-Api-Key }
hosts: ["127.0.0.1:${port}"]
secret: { fromEnv: CHAOS_KEY }
---
kind: Resource
zone: chaos
name: chaos
identifier: ${RESOURCE}
upstream: http://127.0.0.1:${port}
provider: chaos-key
egressAllow: [127.0.0.1/32]
scopes: ["chaos:read"]
operations:
  - { method: GET, path: "/items/{id}", scope: "chaos:read" }
---
kind: Policy
zone: chaos
name: chaos
rules:
  - id: use
    allow: ["chaos:*"]
    on: ["${RESOURCE}"]
    for: { labels: [agents] }
`

/** A whole installation for one scenario: every role a process, Postgres and Redis of its own that write to the disk, an upstream. */
export type Stage = {
  readonly postgres: PostgresServer
  readonly redis: RedisServer
  readonly services: Services
  readonly upstream: Upstream
  /** Id of the zone `chaos`. */
  readonly zone: string
  /** Id of the application `agent`. */
  readonly application: string
  /** Value of the Authorization header with which `agent` asks for mandates. */
  readonly basic: string
  stop(): Promise<void>
}

export type StageOptions = {
  readonly replicas?: Partial<Readonly<Record<ServiceRole, number>>>
  readonly environment?: Readonly<Record<string, string>>
  /** A folder: keys, tokens and logins are handed over as files in it. */
  readonly secretsIn?: string
  /** How long the upstream takes for its answer; milliseconds. */
  readonly upstreamDelay?: number
}

const PORTS = 40

/** Starts everything; resolves when every role is ready and the zone is applied. */
export async function startStage(options: StageOptions = {}): Promise<Stage> {
  const stops: (() => Promise<unknown>)[] = []
  const stop = async () => {
    for (const one of stops.reverse()) await one()
  }
  try {
    const port = await freePorts(PORTS)
    const [postgres, redis, upstream] = await Promise.all([
      startPostgres({ durable: true, port }),
      startRedis({ durable: true, port: port + 1 }),
      startUpstream({ delay: options.upstreamDelay ?? 0 }),
    ])
    stops.push(
      () => postgres.stop(),
      () => redis.stop(),
      () => upstream.stop(),
    )
    const services = await startServices({
      databaseUrl: postgres.url,
      redisUrl: `${redis.url}/0`,
      firstPort: port + 2,
      ...(options.replicas === undefined ? {} : { replicas: options.replicas }),
      ...(options.secretsIn === undefined ? {} : { secretsIn: options.secretsIn }),
      ...(options.environment === undefined ? {} : { environment: options.environment }),
    })
    stops.push(
      () => services.stop(),
      async () => keepLogs(services),
    )
    return { postgres, redis, services, upstream, ...(await fillZone(services, upstream)), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** With `CHAOS_LOGS=<folder>` what every process printed is kept there, for whoever looks for the reason of a failure. */
function keepLogs({ all }: Services): void {
  const folder = process.env.CHAOS_LOGS
  if (folder === undefined) return
  const own = join(folder, String(process.pid))
  mkdirSync(own, { recursive: true })
  for (const { name, said } of all) writeFileSync(join(own, `${name}.log`), said())
}

async function fillZone(services: Services, upstream: Upstream): Promise<Pick<Stage, 'zone' | 'application' | 'basic'>> {
  const folder = mkdtempSync(join(tmpdir(), 'caracal-chaos-'))
  writeFileSync(join(folder, 'chaos.yaml'), documents(upstream.port))
  const applied = await services.caracal(['apply', '-f', folder], { CHAOS_KEY: KEY })
  rmSync(folder, { recursive: true })
  if (applied.code !== 0) throw new Error(applied.stderr)
  const json = async <T>(args: readonly string[]): Promise<T> => {
    const ran = await services.caracal(['--json', ...args])
    if (ran.code !== 0) throw new Error(ran.stderr)
    return JSON.parse(ran.stdout) as T
  }
  const [zones, made] = await Promise.all([
    json<{ id: string; name: string }[]>(['get', 'zones']),
    json<{ client_id: string; client_secret: string }>(['credential', 'create', 'agent', '--zone', 'chaos']),
  ])
  return {
    zone: zones.find(({ name }) => name === 'chaos')?.id ?? '',
    application: made.client_id,
    basic: `Basic ${Buffer.from(`${made.client_id}:${made.client_secret}`).toString('base64')}`,
  }
}
