import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { canonicalJson, type Event, keyRing, newId, type Result, type Zone, type ZoneId } from '@caracal/core'
import { freshDatabaseUrl, redisUrl } from '@caracal/harness'
import { createZone, type Database, findLogHead, migrateUp, openDatabase } from '@caracal/postgres'
import { createLogger, type RunningService } from '@caracal/service'
import { evidencePayload, openStreams, type Streams } from '@caracal/streams'
import { Redis } from 'ioredis'
import { type AuditConfiguration, type AuditShared, auditConfiguration, startAudit } from '../index.ts'

export const AUDIT_ADMIN_TOKEN = `audit-admin-${randomBytes(16).toString('hex')}`

/** The value, or a failure that names the reason. */
export function established<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(`refused: ${result.reason} ${result.detail ?? ''}`)
  return result.value
}

export type Kind = 'embedded' | 'server' | 'redis'

export const KINDS: readonly Kind[] = ['embedded', 'server', 'redis']

export type WorldOptions = { readonly environment?: Readonly<Record<string, string>>; readonly start?: boolean; readonly url?: string }

/** Audit on a real database and a real stream store: PGlite, Postgres with streams in it, or Postgres and Redis. */
export type World = {
  readonly database: Database
  readonly streams: Streams
  readonly config: AuditConfiguration
  readonly environment: Readonly<Record<string, string>>
  readonly logged: string[]
  audit(): RunningService
  startAudit(shared?: AuditShared): Promise<RunningService>
  zone(): Promise<Zone>
  /** Sends events on the work stream as a producer would, numbered when a producer is named. */
  send(events: readonly Event[], from?: { producer: string; seq: number }): Promise<void>
  /** Of one event, or of a group of texts. */
  payload(event: Event | string | readonly string[], from?: { producer: string; seq: number | null }): string
  /** Resolves when the zone's log has this many entries. */
  grown(zone: ZoneId, size: number, ms?: number): Promise<void>
  get(path: string, token?: string): Promise<Response>
  post(path: string, body?: unknown, token?: string): Promise<Response>
  close(): Promise<void>
}

let made = 0

/** A logical database that nothing of an earlier test stands in. */
async function emptyRedis(): Promise<string> {
  const url = redisUrl()
  const redis = new Redis(url)
  await redis.flushdb()
  redis.disconnect()
  return url
}

export function event(zone: ZoneId, fields: Partial<Event> = {}): Event {
  return {
    v: 1,
    id: newId('event'),
    zone,
    time: new Date().toISOString().replace('Z', '000Z'),
    type: 'call.allowed',
    service: 'gateway',
    ...fields,
  }
}

export async function openWorld(kind: Kind, options: WorldOptions = {}): Promise<World> {
  const url = options.url ?? (kind === 'embedded' ? undefined : await freshDatabaseUrl())
  const database = await openDatabase(url === undefined ? { memory: true } : { url, pool: 12 })
  await migrateUp(database, { app: 'test' })
  const redis = kind === 'redis' ? await emptyRedis() : undefined
  const key = () => randomBytes(32).toString('hex')
  const environment = {
    CARACAL_MODE: 'dev',
    HOST: '127.0.0.1',
    PORT: '0',
    METRICS_PORT: '0',
    LOG_LEVEL: 'debug',
    STREAMS_DRIVER: kind === 'redis' ? 'redis' : 'postgres',
    STREAMS_HMAC_KEY: key(),
    AUDIT_HMAC_KEY: key(),
    ZONE_KEK: key(),
    ISSUER_URL: 'https://sts.example.com',
    AUDIT_ADMIN_TOKEN,
    ...(url === undefined ? {} : { DATABASE_URL: url }),
    ...(redis === undefined ? {} : { REDIS_URL: redis }),
    ...options.environment,
  }
  const config = auditConfiguration.parse(environment)
  const logged: string[] = []
  const logger = createLogger({ name: 'audit', level: 'debug', write: (line) => void logged.push(line) })
  const timing = { reclaimMs: 3_000, retryMs: 100 }
  const common = { keys: config.STREAMS_HMAC_KEY, logger, timing }
  const streams =
    redis === undefined ? openStreams({ driver: 'postgres', database, ...common }) : openStreams({ driver: 'redis', url: redis, ...common })
  const running: RunningService[] = []
  const start = async (shared: AuditShared = {}) => {
    const service = await startAudit(config, { database, streams, logger, ...shared })
    running.push(service)
    return service
  }
  const audit = () => {
    const first = running.findLast((service) => !service.probes.draining())
    if (first === undefined) throw new Error('Audit was not started')
    return first
  }
  const auditKeys = keyRing(Buffer.from(environment.AUDIT_HMAC_KEY, 'hex'))
  const payload: World['payload'] = (given, { producer, seq } = { producer: 'test', seq: null }) => {
    const events = Array.isArray(given) ? (given as readonly string[]) : [typeof given === 'string' ? given : canonicalJson(given)]
    return evidencePayload(auditKeys, { producer, first: seq, events })
  }
  const call = (method: string) => (path: string, token: string, body?: unknown) =>
    fetch(`${audit().address.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  if (options.start !== false) await start()

  return {
    database,
    streams,
    config,
    environment,
    logged,
    audit,
    startAudit: start,
    async zone() {
      made += 1
      return established(await createZone(database.query, { id: newId('zone'), name: `zone-${made}`, labels: [] }, Date.now()))
    },
    async send(events, from) {
      await streams.append(
        'caracal.audit.events',
        events.map((one, i) => ({
          partition: one.zone,
          payload: payload(one, from === undefined ? undefined : { producer: from.producer, seq: from.seq + i }),
        })),
      )
    },
    payload,
    async grown(zone, size, ms = 10_000) {
      await until(
        ms,
        async () => ((await findLogHead(database.query, zone))?.size ?? 0) >= size,
        `the log of ${zone} to have ${size} entries`,
      )
    },
    get: (path, token = AUDIT_ADMIN_TOKEN) => call('GET')(path, token),
    post: (path, body, token = AUDIT_ADMIN_TOKEN) => call('POST')(path, token, body),
    async close() {
      for (const service of running.reverse()) await service.stop()
      await streams.close()
      await database.close()
    },
  }
}

/** Asks again and again until it is so; fails after `ms`. */
export async function until(ms: number, isSo: () => Promise<boolean> | boolean, what: string): Promise<void> {
  const deadline = performance.now() + ms
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`waited ${ms} ms for ${what}`)
    await sleep(10)
  }
}
