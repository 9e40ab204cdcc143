import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseKeyRing } from '@caracal/core'
import { type Database, migrateUp, openDatabase } from '@caracal/postgres'
import { createLogger, type Environment, type Logger } from '@caracal/service'
import { openStreams, type Streams } from '@caracal/streams'
import { type CanaryUpstream, startCanaryUpstream } from './canary-upstream.ts'
import { CliError } from './cli-error.ts'
import type { Endpoints } from './context.ts'
import { partOfUrl, placeOf } from './database-error.ts'
import { type EmbeddedKeys, loadEmbeddedKeys } from './embedded-keys.ts'
import { CANARY_PORT, PORTS, type Role, START_ORDER } from './roles.ts'
import { startRoles } from './start-roles.ts'
import { assertPortsFree, startupError } from './startup-error.ts'
import { lockState } from './state-lock.ts'

export type InstallationOptions = {
  /** Folder of everything that is kept. */
  readonly state: string
  readonly databaseUrl?: string | undefined
  readonly redisUrl?: string | undefined
  /** MCP servers, `name=url,…`: then the MCP Adapter starts too. */
  readonly mcpServers?: string | undefined
  /** Added to every port. */
  readonly portOffset: number
  /** Ends the start between two steps, or a step that hangs. */
  readonly signal?: AbortSignal
  readonly onStep?: (step: string) => void
}

export type Installation = {
  readonly endpoints: Endpoints
  /** Where the MCP Adapter is, when there are MCP servers. */
  readonly mcp?: string
  readonly keys: EmbeddedKeys
  readonly upstream: CanaryUpstream
  /** No zone existed before. */
  readonly first: boolean
  /** Stops everything in reverse order, within 15 s; idempotent. */
  stop(): Promise<void>
}

/**
 * All roles in this process, on embedded Postgres below the state folder or on servers. What was opened is closed again when a
 * step fails; a second start finds everything that the first left.
 */
export async function startInstallation(options: InstallationOptions): Promise<Installation> {
  const closers: (() => unknown)[] = []
  const stop = async () => {
    for (let close = closers.pop(); close !== undefined; close = closers.pop()) await close()
  }
  try {
    return await Promise.race([startAll(options, closers, stop), aborted(options.signal)])
  } catch (error) {
    await stop()
    const { state, portOffset, databaseUrl } = options
    const database = databaseUrl === undefined ? {} : { database: placeOf(databaseUrl, partOfUrl('--database-url')) }
    throw startupError(error, { state, portOffset, ...database })
  }
}

/** Rejects when the person does not want the start any more. */
function aborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    signal?.addEventListener('abort', () => reject(new CliError('Stopped before it was ready.', undefined, { exitCode: 130 })))
  })
}

async function startAll(options: InstallationOptions, closers: (() => unknown)[], stop: () => Promise<void>): Promise<Installation> {
  const step = (name: string) => {
    options.signal?.throwIfAborted()
    options.onStep?.(name)
  }
  closers.push(lockState(options.state))
  const roles: readonly Role[] = options.mcpServers === undefined ? START_ORDER : [...START_ORDER, 'mcp-adapter']
  await assertPortsFree(options.portOffset, roles)
  const keys = loadEmbeddedKeys(join(options.state, 'keys'))
  const secrets = Object.values(keys)
  const logger = createLogger({ name: 'caracal', level: 'warn', secrets, write: (line) => void process.stderr.write(line) })
  step(options.databaseUrl ? 'connecting to Postgres' : 'starting the embedded Postgres')
  const database = await openStore(options, closers)
  step('migrating the schema')
  await migrateUp(database)
  const streams = await openBus(options, keys, database, logger, closers)
  const endpoints = endpointsOf(options.portOffset)
  await startRoles({
    roles,
    environmentOf: (role) => environmentOf(role, options, keys, endpoints),
    on: { database, streams, logger },
    onStart: (role) => step(`starting ${role}`),
    onStarted: (service) => closers.push(() => service.stop()),
  })
  const upstream = await startCanaryUpstream({ port: CANARY_PORT + options.portOffset, apiKey: keys.notesApiKey })
  closers.push(() => upstream.stop())
  const endpointsFile = join(options.state, 'endpoints.json')
  writeFileSync(endpointsFile, `${JSON.stringify(endpoints, null, 2)}\n`, { mode: 0o600 })
  closers.push(() => rmSync(endpointsFile, { force: true }))
  const { rows } = await listZones(database)
  const mcp = options.mcpServers === undefined ? {} : { mcp: addressOf('mcp-adapter', options.portOffset) }
  return { endpoints, ...mcp, keys, upstream, first: rows === 0, stop }
}

async function listZones(database: Database): Promise<{ rows: number }> {
  const found = await database.query.selectFrom('zones').select('id').limit(1).execute()
  return { rows: found.length }
}

async function openStore(options: InstallationOptions, closers: (() => unknown)[]): Promise<Database> {
  if (options.databaseUrl === undefined) {
    const dataDir = join(options.state, 'postgres')
    if (!existsSync(dataDir)) mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    const database = await openDatabase({ dataDir })
    closers.push(() => database.close())
    return database
  }
  const database = await openDatabase({ url: options.databaseUrl })
  closers.push(() => database.close())
  return database
}

async function openBus(
  options: InstallationOptions,
  keys: EmbeddedKeys,
  database: Database,
  logger: Logger,
  closers: (() => unknown)[],
): Promise<Streams> {
  const ring = parseKeyRing({ current: keys.streamsHmacKey })
  if (!ring.ok) throw new Error(`the streams key of the state folder cannot be used: ${ring.problem}`)
  const shared = { keys: ring.value, logger }
  const streams = options.redisUrl
    ? openStreams({ driver: 'redis', url: options.redisUrl, ...shared })
    : openStreams({ driver: 'postgres', database, ...shared })
  closers.push(() => streams.close())
  if (options.redisUrl) {
    await streams.ping().catch((error: Error) => {
      throw new CliError(`Redis at ${URL.parse(options.redisUrl ?? '')?.host} cannot be used: ${error.message}.`, 'Look at --redis-url.')
    })
  }
  return streams
}

function addressOf(role: Role, offset: number): string {
  return `http://127.0.0.1:${PORTS[role].port + offset}`
}

function endpointsOf(offset: number): Endpoints {
  const at = (role: Role) => addressOf(role, offset)
  return { api: at('api'), sts: at('sts'), gateway: at('gateway'), audit: at('audit'), coordinator: at('coordinator') }
}

/**
 * The issuer that the logs are named after: the one of the first start. A log's origin never changes (C2SP tlog-checkpoint), while
 * the ports may be others at each start.
 */
function logsIssuer(state: string, sts: string): string {
  const file = join(state, 'log-issuer')
  if (!existsSync(file)) writeFileSync(file, `${sts}\n`, { mode: 0o600 })
  return readFileSync(file, 'utf8').trim()
}

/** The environment that a role would have in a pod of its own. */
function environmentOf(role: Role, options: InstallationOptions, keys: EmbeddedKeys, endpoints: Endpoints): Environment {
  const { port, metrics } = PORTS[role]
  const all: Record<string, string> = {
    CARACAL_MODE: 'dev',
    HOST: '127.0.0.1',
    PORT: String(port + options.portOffset),
    METRICS_PORT: String(metrics + options.portOffset),
    LOG_LEVEL: 'warn',
    ISSUER_URL: role === 'audit' ? logsIssuer(options.state, endpoints.sts) : endpoints.sts,
    STS_URL: endpoints.sts,
    COORDINATOR_URL: endpoints.coordinator,
    AUDIT_URL: endpoints.audit,
    SPOOL_DIR: join(options.state, 'spool', role),
    EVIDENCE: 'write-ahead',
    STREAMS_DRIVER: options.redisUrl ? 'redis' : 'postgres',
    ZONE_KEK: keys.zoneKek,
    AUDIT_HMAC_KEY: keys.auditHmacKey,
    STREAMS_HMAC_KEY: keys.streamsHmacKey,
    GATEWAY_STS_HMAC_KEY: keys.gatewayStsHmacKey,
    ADMIN_TOKEN: keys.adminToken,
    COORDINATOR_TOKEN: keys.coordinatorToken,
    STS_ADMIN_TOKEN: keys.stsAdminToken,
    AUDIT_ADMIN_TOKEN: keys.auditAdminToken,
    ...(options.mcpServers === undefined ? {} : { MCP_SERVERS: options.mcpServers }),
    ...(options.databaseUrl ? { DATABASE_URL: options.databaseUrl } : {}),
    ...(options.redisUrl ? { REDIS_URL: options.redisUrl } : {}),
  }
  return all
}
