import { randomBytes } from 'node:crypto'
import {
  type Application,
  type Delegation,
  type MandateClaims,
  newId,
  RESOURCE_DEFAULTS,
  type Resource,
  type Result,
  type Revocation,
  type RevocationKind,
  type Session,
  type ZoneId,
  zoneIssuer,
} from '@caracal/core'
import { freshDatabaseUrl } from '@caracal/harness'
import {
  bumpConfigVersion,
  createApplication,
  createResource,
  createZone,
  type Database,
  insertZoneKey,
  migrateUp,
  openDatabase,
} from '@caracal/postgres'
import { createLogger, type RunningService } from '@caracal/service'
import { openStreams, type Streams } from '@caracal/streams'
import { coordinatorConfiguration, startCoordinator } from '../index.ts'
import { activatePolicy } from './activate-policy.ts'
import { type SigningKey, signingKey, signJws } from './signing-key.ts'

export const COORDINATOR_TOKEN = `operator.${randomBytes(24).toString('base64url')}`
const ISSUER_URL = 'https://sts.caracal-tests.dev'

/** The value, or a failure that names the reason. */
export function established<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(`refused: ${result.reason} ${result.detail ?? ''}`)
  return result.value
}

/** What came back: problem documents have a `code`. */
// biome-ignore lint/suspicious/noExplicitAny: answers are looked into by tests that know their shape
export type Answered<T = any> = { readonly status: number; readonly body: T; readonly headers: Headers; readonly text: string }

export type TestZone = {
  readonly id: ZoneId
  readonly key: SigningKey
  readonly applications: Readonly<Record<string, Application>>
  readonly resources: Readonly<Record<string, Resource>>
  /** The path of this zone, e.g. `/sessions`. */
  path(rest: string): string
  /** A mandate of the application for Caracal itself. */
  token(application: Application, over?: Partial<Record<keyof MandateClaims, unknown>>, header?: Record<string, unknown>): string
}

export type World = {
  readonly database: Database
  readonly streams: Streams
  readonly service: RunningService
  /** Time, turned by hand; it stands still. */
  readonly clock: { now: number }
  zone(members: { applications: readonly string[]; resources?: Readonly<Record<string, readonly string[]>> }): Promise<TestZone>
  call(method: string, path: string, token: string | null, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<Answered>
  /** Makes the document the only one of the zone's active policy set. */
  policy(zone: ZoneId, yaml: string): Promise<void>
  /** Publishes a revocation as the API does. */
  revoke(zone: ZoneId, kind: RevocationKind, id: string): Promise<void>
  /** Starts another replica on the same database. */
  replica(environment?: Readonly<Record<string, string>>): Promise<RunningService>
  close(): Promise<void>
}

export async function openWorld(kind: Database['kind'], environment: Readonly<Record<string, string>> = {}): Promise<World> {
  const database = await openDatabase(kind === 'embedded' ? { memory: true } : { url: await freshDatabaseUrl(), pool: 12 })
  await migrateUp(database, { app: 'test' })
  const clock = { now: Date.now() }
  const key = () => randomBytes(32).toString('hex')
  const fixed = {
    CARACAL_MODE: 'dev',
    PORT: '0',
    METRICS_PORT: '0',
    LOG_LEVEL: 'silent',
    STREAMS_DRIVER: 'postgres',
    STREAMS_HMAC_KEY: key(),
    AUDIT_HMAC_KEY: key(),
    ISSUER_URL,
    COORDINATOR_TOKEN,
    // Tests sweep by hand.
    SWEEP_INTERVAL: '1h',
  }
  const logger = createLogger({ name: 'coordinator', level: 'silent' })
  const parse = (over: Readonly<Record<string, string>>) => coordinatorConfiguration.parse({ ...fixed, ...over })
  const config = parse(environment)
  const streams = openStreams({ driver: 'postgres', database, keys: config.STREAMS_HMAC_KEY, logger })
  const start = (over: Readonly<Record<string, string>>) =>
    startCoordinator(parse({ ...environment, ...over }), { database, streams, logger, clock: () => clock.now })
  const services = [await start({})]
  const [service] = services
  if (service === undefined) throw new Error('nothing started')
  let made = 0

  return {
    database,
    streams,
    service,
    clock,
    async zone({ applications, resources = {} }) {
      made += 1
      const zone = established(await createZone(database.query, { id: newId('zone'), name: `zone-${made}`, labels: [] }, clock.now))
      const key = signingKey()
      await insertZoneKey(database.query, {
        zone: zone.id,
        kind: 'signing',
        kid: key.kid,
        state: 'current',
        publicJwk: key.jwk,
        sealed: 'sealed',
        createdAt: clock.now,
        activatesAt: clock.now,
        retiresAt: null,
      })
      const members: { applications: Record<string, Application>; resources: Record<string, Resource> } = {
        applications: {},
        resources: {},
      }
      for (const name of applications) {
        const row = { id: newId('application'), zone: zone.id, name, labels: [] }
        members.applications[name] = established(await createApplication(database.query, row, clock.now))
      }
      for (const [name, scopes] of Object.entries(resources)) {
        const row = {
          ...RESOURCE_DEFAULTS,
          id: newId('resource'),
          zone: zone.id,
          name,
          kind: 'http' as const,
          identifier: `https://${name}.caracal-tests.dev/`,
          upstream: 'http://127.0.0.1:1',
          scopes,
          operations: [],
          provider: null,
          egressAllow: [],
        }
        members.resources[name] = established(await createResource(database.query, row, clock.now))
      }
      // The service may have loaded the zone while it was still empty: whoever did learns that there is more.
      await bumpConfigVersion(database.query, zone.id)
      const issuer = zoneIssuer(ISSUER_URL, zone.id)
      return {
        id: zone.id,
        key,
        ...members,
        path: (rest) => `/v1/zones/${zone.id}${rest}`,
        token(application, over = {}, header = {}) {
          const now = Math.floor(clock.now / 1000)
          const claims = {
            iss: issuer,
            sub: application.id,
            aud: issuer,
            client_id: application.id,
            scope: 'delegations sessions',
            iat: now,
            nbf: now,
            exp: now + 900,
            jti: newId('mandate'),
            zone: zone.id,
            txn: newId('transaction'),
            ...over,
          }
          return signJws(key, claims, header)
        },
      }
    },
    async call(method, path, token, body, headers = {}) {
      const response = await fetch(service.address.url + path, {
        method,
        headers: {
          ...(token === null ? {} : { authorization: `Bearer ${token}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      const text = await response.text()
      return { status: response.status, body: text === '' ? null : JSON.parse(text), headers: response.headers, text }
    },
    policy: (zone, yaml) => activatePolicy(database, zone, yaml),
    async revoke(zone, kind, id) {
      const revocation: Revocation = { v: 1, op: 'revoke', kind, id, zone, at: clock.now, reason: 'test' }
      await streams.publish('caracal.revocations', JSON.stringify(revocation))
    },
    async replica(over = {}) {
      const another = await start(over)
      services.push(another)
      return another
    },
    async close() {
      for (const one of services) await one.stop()
      await streams.close()
      await database.close()
    },
  }
}

/** The named member of a zone, or a failure that says it is not there. */
export function member<T>(from: Readonly<Record<string, T>>, name: string): T {
  const found = from[name]
  if (found === undefined) throw new Error(`the test zone has no ${name}`)
  return found
}

/** A session started over HTTP. */
export async function started(world: World, zone: TestZone, token: string, body: Record<string, unknown> = {}): Promise<Session> {
  const answered = await world.call('POST', zone.path('/sessions'), token, { kind: 'task', ttl: 3600, ...body })
  if (answered.status !== 201) throw new Error(answered.text)
  return answered.body
}

/** A delegation offered over HTTP. */
export async function offered(world: World, zone: TestZone, token: string, body: Record<string, unknown>): Promise<Delegation> {
  const answered = await world.call('POST', zone.path('/delegations'), token, body)
  if (answered.status !== 201) throw new Error(answered.text)
  return answered.body
}
