import { type Clock, isId } from '@caracal/core'
import { type Database, findZone, SCHEMA } from '@caracal/postgres'
import {
  createCursors,
  createInternalClient,
  createLogger,
  createMetrics,
  type Logger,
  observeDatabase,
  observeOutbox,
  ownDatabase,
  ownFiles,
  ownStreams,
  RELEASE,
  type RouteRow,
  type RunningService,
  type StopHook,
  schemaCheck,
  secretsOf,
  startService,
  trustAuthorities,
  validNow,
  watchStore,
  writesCheck,
} from '@caracal/service'
import { outboxEvidence, type Streams, startOutboxDispatcher } from '@caracal/streams'
import { apiAuthenticator } from './authentication.ts'
import type { ApiConfiguration } from './configuration.ts'
import type { ApiDesk } from './desk.ts'
import { idempotencyStore } from './idempotency-store.ts'
import { openRevocationHub, type RevocationHub } from './revocations/hub.ts'
import { applicationKeyRoutes } from './routes/application-keys.ts'
import { applicationRoutes } from './routes/applications.ts'
import { applyRoutes } from './routes/apply.ts'
import { budgetRoutes } from './routes/budgets.ts'
import { credentialRoutes } from './routes/credentials.ts'
import { explainRoutes } from './routes/explain.ts'
import { policyRoutes } from './routes/policies.ts'
import { policySetRoutes } from './routes/policy-sets.ts'
import { providerRoutes } from './routes/providers.ts'
import { resourceRoutes } from './routes/resources.ts'
import { revocationRoutes } from './routes/revocations.ts'
import { sessionRoutes } from './routes/sessions.ts'
import { tokenRoutes } from './routes/tokens.ts'
import { usageRoutes } from './routes/usage.ts'
import { zoneRoutes } from './routes/zones.ts'
import { sealingBySts } from './sealing.ts'

/** What the process may hand over instead of letting the API open its own; what is handed over is not closed here. */
export type ApiShared = {
  readonly database?: Database
  readonly streams?: Streams
  readonly logger?: Logger
  /** Time, for tests. */
  readonly clock?: Clock
  readonly version?: string
}

/** Per token, or per source where there is none. */
const RATES = {
  read: { perSecond: 100, burst: 500 },
  mutation: { perSecond: 50, burst: 200 },
  feed: { perSecond: 2, burst: 50 },
}

/** Starts the API: configuration, policies, revocations and who may change them. Rejects when a port is taken or a setting is missing. */
export async function startApi(config: ApiConfiguration, shared: ApiShared = {}): Promise<RunningService> {
  const logger = shared.logger ?? createLogger({ name: 'api', level: config.LOG_LEVEL, secrets: () => secretsOf(config) })
  if (config.CA_BUNDLE !== undefined) trustAuthorities(config.CA_BUNDLE)
  const version = shared.version ?? RELEASE
  const stops: StopHook[] = []
  const onStop = (name: string, stop: StopHook['stop']) => stops.push({ name, stop })
  try {
    const database = (shared.database ?? (await ownDatabase('api', config, logger, onStop))).as('api')
    const streams = shared.streams ?? (await ownStreams('api', config, database, logger, onStop))
    const store = watchStore(streams)
    const now = shared.clock ?? store.clock.now
    const sts = createInternalClient({ baseUrl: config.STS_URL, caller: 'api', keys: () => config.GATEWAY_STS_HMAC_KEY, now })
    onStop('sts client', () => sts.close())
    const dispatcher = startOutboxDispatcher({ database, streams, logger, producer: 'api' })
    onStop('outbox', () => dispatcher.stop())
    const heartbeat = streams.heartbeat('caracal.revocations')
    onStop('heartbeat', () => heartbeat.stop())
    const hub = openRevocationHub({ database, streams, logger, now })
    onStop('revocation feeds', () => hub.close())

    const metrics = createMetrics({ service: 'api', version, mode: config.CARACAL_MODE })
    ownFiles(
      config,
      { database: shared.database === undefined ? database : undefined, streams: shared.streams === undefined ? streams : undefined },
      { logger, metrics, onStop },
    )
    observeDatabase(metrics, database)
    store.observe(metrics)
    observeOutbox(metrics, 'api', dispatcher.health)

    const desk: ApiDesk = {
      database,
      streams,
      sealing: sealingBySts(sts),
      cursors: createCursors(config.GATEWAY_STS_HMAC_KEY.current.bytes),
      evidence: outboxEvidence({ service: 'api', keys: config.AUDIT_HMAC_KEY, clock: now }),
      now,
    }
    return await startService({
      name: 'api',
      version: { version, schema: SCHEMA },
      host: config.HOST,
      port: config.PORT,
      metricsPort: config.METRICS_PORT,
      metricsBearer: () => validNow(config.METRICS_BEARER),
      routes: apiRoutes(desk, hub),
      authenticator: apiAuthenticator(database, config.ADMIN_TOKEN, now),
      idempotency: idempotencyStore(database, now),
      rates: RATES,
      checks: [
        { name: 'postgres', kind: 'dependency', check: () => database.ping() },
        writesCheck(database),
        { name: 'streams', kind: 'dependency', check: () => streams.ping() },
        ...store.checks('warning'),
        { name: 'schema', kind: 'dependency', reason: 'schema_incompatible', check: schemaCheck(database) },
      ],
      metrics,
      logger,
      onStop: stops,
      drainDelayMs: config.DRAIN_DELAY,
      trustedProxies: config.TRUSTED_PROXIES,
      limits: { maxConnections: config.MAX_CONNECTIONS },
      resolveZone: async (text) => (isId('zone', text) ? ((await findZone(database.query, text))?.id ?? null) : null),
      checkReplies: config.CARACAL_MODE === 'dev',
    })
  } catch (error) {
    for (const hook of stops.reverse()) await Promise.resolve(hook.stop()).catch(() => undefined)
    throw error
  }
}

/** Every row of the API. */
export function apiRoutes(desk: ApiDesk, hub: RevocationHub): RouteRow[] {
  return [
    ...tokenRoutes(desk),
    ...zoneRoutes(desk),
    ...applicationRoutes(desk),
    ...credentialRoutes(desk),
    ...applicationKeyRoutes(desk),
    ...providerRoutes(desk),
    ...resourceRoutes(desk),
    ...policyRoutes(desk),
    ...policySetRoutes(desk),
    ...budgetRoutes(desk),
    ...usageRoutes(desk),
    ...sessionRoutes(desk),
    ...revocationRoutes(desk, hub),
    ...explainRoutes(desk),
    ...applyRoutes(desk),
  ]
}
