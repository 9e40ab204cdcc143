import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type Application,
  type ApplicationCredential,
  canonicalJson,
  type Delegation,
  type Grant,
  newId,
  type Provider,
  type ProviderMethod,
  type PublicJwk,
  parsePolicy,
  RESOURCE_DEFAULTS,
  type Resource,
  type Result,
  type Revocation,
  type RevocationKind,
  type Session,
  type Zone,
  type ZoneId,
} from '@caracal/core'
import { freshDatabaseUrl, redisUrl } from '@caracal/harness'
import {
  activatePolicySetVersion,
  activePolicy,
  addCredential,
  addPolicySetVersion,
  addPolicyVersion,
  bumpConfigVersion,
  createApplication,
  createPolicy,
  createPolicySet,
  createProvider,
  createResource,
  createZone,
  type Database,
  findPolicySetByName,
  insertDelegation,
  insertSession,
  lift,
  migrateUp,
  openDatabase,
  revoke,
} from '@caracal/postgres'
import { createInternalClient, createLogger, type InternalClient, type RunningService } from '@caracal/service'
import { openStreams, type Streams } from '@caracal/streams'
import { decodeJwt, type JWTPayload } from 'jose'
import Type from 'typebox'
import { type StsConfiguration, type StsShared, startSts, stsConfiguration } from '../index.ts'

const key = () => randomBytes(32).toString('hex')

export const STS_ADMIN_TOKEN = `sts-admin-${randomBytes(16).toString('hex')}`

/** The value, or a failure that names the reason. */
export function established<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(`refused: ${result.reason} ${result.detail ?? ''}`)
  return result.value
}

/** An STS on a real Postgres and a real stream store, and what a zone is made of. */
export type World = {
  readonly database: Database
  readonly streams: Streams
  readonly sts: RunningService
  readonly config: StsConfiguration
  readonly internal: (caller: string) => InternalClient
  /** Posts a form to a path of the STS. */
  post(path: string, form: Readonly<Record<string, string>> | string, headers?: Readonly<Record<string, string>>): Promise<Response>
  zone(): Promise<Zone>
  application(zone: ZoneId, fields?: { name?: string; labels?: readonly string[] }): Promise<Application & { readonly secret: string }>
  jwk(application: Application, jwk: PublicJwk): Promise<void>
  credential(application: Application, expiresAt?: number | null): Promise<string>
  resource(zone: ZoneId, fields?: Partial<Resource>): Promise<Resource>
  policy(zone: ZoneId, yaml: string): Promise<void>
  session(application: Application, fields?: Partial<Session> & { above?: Session }): Promise<Session>
  delegation(
    from: Session,
    to: Session,
    grants: readonly Grant[],
    fields?: Partial<Delegation> & { above?: Delegation },
  ): Promise<Delegation>
  /** A token request of this client; undefined takes a field away. */
  ask(
    application: Application & { readonly secret: string },
    change?: Readonly<Record<string, string | undefined>>,
  ): Promise<TokenBody & { readonly status: number; readonly claims: JWTPayload | undefined }>
  /** Row and broadcast, as the API and the Coordinator make them. */
  revoke(zone: ZoneId, kind: RevocationKind, target: string, op?: 'revoke' | 'lift'): Promise<void>
  provider(zone: ZoneId, method: ProviderMethod, secret: string | null, fields?: Partial<Provider>): Promise<Provider>
  /** A pool that the STS does not use. */
  readonly fixtures: Database
  close(): Promise<void>
}

export type TokenBody = {
  readonly access_token?: string
  readonly scope?: string
  readonly expires_in?: number
  readonly mandate_id?: string
  readonly clamped_by?: string
  readonly code?: string
  readonly error?: string
}

export type WorldOptions = {
  readonly driver?: 'postgres' | 'redis'
  readonly environment?: Readonly<Record<string, string>>
  readonly shared?: StsShared
  /** Whether fixtures wait until the STS has seen them. */
  readonly settled?: boolean
  /** Statements of the request path only: the STS opens its own pool beside the one that the fixtures use. */
  readonly databaseUrl?: string
  readonly redisUrl?: string
}

export async function openWorld(options: WorldOptions = {}): Promise<World> {
  const url = options.databaseUrl ?? (await freshDatabaseUrl())
  const fixtures = await openDatabase({ url, pool: 4 })
  await migrateUp(fixtures, { app: 'test' })
  const database = await openDatabase({ url, pool: 5 })
  const driver = options.driver ?? 'postgres'
  const spool = mkdtempSync(join(tmpdir(), 'caracal-sts-spool-'))
  const config = stsConfiguration.parse({
    CARACAL_MODE: 'dev',
    HOST: '127.0.0.1',
    PORT: '0',
    METRICS_PORT: '0',
    LOG_LEVEL: 'silent',
    STREAMS_DRIVER: driver,
    STREAMS_HMAC_KEY: key(),
    AUDIT_HMAC_KEY: key(),
    GATEWAY_STS_HMAC_KEY: key(),
    ZONE_KEK: key(),
    ISSUER_URL: 'http://127.0.0.1:8080',
    SPOOL_DIR: spool,
    STS_ADMIN_TOKEN,
    ...options.environment,
  })
  const logger = createLogger({ name: 'sts', level: config.LOG_LEVEL })
  const common = { keys: config.STREAMS_HMAC_KEY, logger }
  const streams = openStreams(
    driver === 'redis' ? { ...common, driver, url: options.redisUrl ?? redisUrl() } : { ...common, driver, database },
  )
  const sts = await startSts(config, {
    database,
    streams,
    logger,

    ...options.shared,
  })
  const clients: InternalClient[] = []
  const internal = (caller: string) => {
    const client = createInternalClient({ baseUrl: sts.address.url, caller, keys: () => config.GATEWAY_STS_HMAC_KEY })
    clients.push(client)
    return client
  }
  const api = internal('api')
  const gateway = internal('gateway')
  const settled = options.settled ?? true
  const now = () => Date.now()
  const changed = async <T>(zone: ZoneId, work: Promise<T>): Promise<T> => {
    const value = await work
    await bumpConfigVersion(fixtures.query, zone)
    // Asking for the zone by name makes the STS compare first: what comes next in a test does not depend on who is faster.
    if (settled) established(await gateway.call('/internal/snapshot', { zones: [zone] }, { reply: Type.Object({}) }))
    return value
  }
  let made = 0
  const name = (kind: string) => `${kind}-${++made}`

  const credential = async (application: Application, expiresAt: number | null = null): Promise<string> => {
    const secret = `ccs_${randomBytes(32).toString('base64url')}`
    const reply = Type.Object({ digest: Type.String() })
    const { digest } = established(await api.call('/internal/digest-secret', { zone: application.zone, secret }, { reply, sealed: true }))
    const { id: own, zone } = application
    const row: ApplicationCredential = {
      id: newId('credential'),
      application: own,
      zone,
      createdAt: now(),
      expiresAt,
      kind: 'secret',
      digest,
    }
    await changed(zone, addCredential(fixtures.query, row))
    return secret
  }

  return {
    database,
    streams,
    sts,
    config,
    internal,
    credential,
    post: (path, form, headers = {}) =>
      fetch(sts.address.url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
        body: typeof form === 'string' ? form : new URLSearchParams(form).toString(),
      }),
    zone: async () => established(await createZone(fixtures.query, { id: newId('zone'), name: name('zone'), labels: [] }, now())),
    async application(zone, fields = {}) {
      const application = established(
        await changed(
          zone,
          createApplication(
            fixtures.query,
            { id: newId('application'), zone, name: fields.name ?? name('agent'), labels: fields.labels ?? [] },
            now(),
          ),
        ),
      )
      return { ...application, secret: await credential(application) }
    },
    async jwk(application, jwk) {
      const { id: own, zone } = application
      const row: ApplicationCredential = {
        id: newId('credential'),
        application: own,
        zone,
        createdAt: now(),
        expiresAt: null,
        kind: 'jwk',
        jwk,
      }
      await changed(zone, addCredential(fixtures.query, row))
    },
    resource: async (zone, fields = {}) =>
      established(
        await changed(
          zone,
          createResource(
            fixtures.query,
            {
              ...RESOURCE_DEFAULTS,
              id: newId('resource'),
              zone,
              name: name('resource'),
              kind: 'http',
              identifier: `https://${name('api')}.example/`,
              upstream: 'http://127.0.0.1:1',
              scopes: ['read', 'write'],
              operations: [],
              provider: null,
              egressAllow: [],
              ...fields,
            },
            now(),
          ),
        ),
      ),
    async provider(zone, method, secret, fields = {}) {
      const id = newId('provider')
      const place = { zone, table: 'providers', row: id, column: 'sealed_secret', version: 1 }
      const reply = Type.Object({ sealed: Type.String() })
      const sealed =
        secret === null ? null : established(await api.call('/internal/seal', { ...place, secret }, { reply, sealed: true })).sealed
      const row = {
        id,
        zone,
        name: name('provider'),
        hosts: ['up.example'],
        expiresAt: null,
        method,
        secret: sealed === null ? null : { sealed, version: 1, digest: null },
        ...fields,
      }
      return established(await changed(zone, createProvider(fixtures.query, row, now())))
    },
    policy: (zone, yaml) => changed(zone, activate(fixtures, zone, yaml)),
    async session(application, { above, ...fields } = {}) {
      const id = newId('session')
      return insertSession(
        fixtures.query,
        {
          id,
          zone: application.zone,
          application: application.id,
          kind: 'task',
          parent: above?.id ?? null,
          lineage: [...(above?.lineage ?? []), id],
          labels: [],
          subject: null,
          expiresAt: now() + 3_600_000,
          lease: null,
          ...fields,
        },
        now(),
      )
    },
    async delegation(from, to, grants, { above, ...fields } = {}) {
      const id = newId('delegation')
      return insertDelegation(
        fixtures.query,
        {
          id,
          zone: from.zone,
          from: from.id,
          fromApplication: from.application,
          fromLineage: from.lineage,
          toApplication: to.application,
          to: to.id,
          parent: above?.id ?? null,
          lineage: [...(above?.lineage ?? []), id],
          grants,
          hops: 3,
          state: 'active',
          expiresAt: now() + 3_600_000,
          ...fields,
        },
        now(),
      )
    },
    ask: async (application, change = {}) => {
      const fields = { grant_type: 'client_credentials', client_id: application.id, client_secret: application.secret, ...change }
      const given = Object.entries(fields).filter((one): one is [string, string] => one[1] !== undefined)
      const response = await fetch(`${sts.address.url}/oauth/2/token`, { method: 'POST', body: new URLSearchParams(given) })
      const body = (await response.json()) as TokenBody
      return { status: response.status, ...body, claims: body.access_token === undefined ? undefined : decodeJwt(body.access_token) }
    },
    revoke: async (zone, kind, target, op = 'revoke') => {
      const message: Revocation = { v: 1, op, kind, id: target, zone, at: Date.now(), reason: 'test' }
      const by = 'test'
      if (op === 'lift') await lift(fixtures.query, { zone, kind, target, by }, Date.now())
      else await revoke(fixtures.query, { id: newId('revocation'), zone, kind, target, reason: 'test', by }, Date.now())
      await streams.publish('caracal.revocations', JSON.stringify(message))
    },
    fixtures,
    async close() {
      for (const client of clients) await client.close()
      await sts.stop()
      await streams.close()
      await database.close()
      await fixtures.close()
      rmSync(spool, { recursive: true, force: true })
    },
  }
}

/** Makes the document the only one of the zone's active set. */
async function activate(database: Database, zone: ZoneId, yaml: string): Promise<void> {
  const parsed = parsePolicy(yaml)
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems))
  const canonical = canonicalJson(parsed.value)
  const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
  await database.transaction(async (tx) => {
    const now = Date.now()
    const policy = established(await createPolicy(tx, { id: newId('policy'), zone, name: `policy-${newId('policy').slice(-8)}` }, now))
    const { version } = established(
      await addPolicyVersion(
        tx,
        { id: newId('policyVersion'), zone, policy: policy.id, source: yaml, canonical, sha256: sha256(canonical), createdBy: 'test' },
        now,
      ),
    )
    const set =
      (await findPolicySetByName(tx, zone, 'default')) ??
      established(await createPolicySet(tx, { id: newId('policySet'), zone, name: 'default' }, now))
    const members = [{ policy: policy.id, version: version.id, sha256: version.sha256 }]
    const { version: setVersion } = established(
      await addPolicySetVersion(
        tx,
        { id: newId('policySetVersion'), zone, policySet: set.id, members, sha256: sha256(canonicalJson(members)), createdBy: 'test' },
        now,
      ),
    )
    const expected = (await activePolicy(tx, zone))?.generation ?? 0
    established(await activatePolicySetVersion(tx, { zone, setVersion: setVersion.id, expected, by: 'test' }, now))
  })
}
