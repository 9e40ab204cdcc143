import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { type Clock, isId } from '@caracal/core'
import {
  followConfiguration,
  followRevocations,
  keyRefetcher,
  mandateVerifier,
  postgresRevocations,
  ReplicaState,
  RevocationView,
} from '@caracal/enforcement'
import { type Database, findUsableAdminToken } from '@caracal/postgres'
import {
  createAdminAuthenticator,
  createCursors,
  createFailureThrottle,
  createLogger,
  createMetrics,
  firstOf,
  type Logger,
  type OnStop,
  observeDatabase,
  observeFreshness,
  observeOutbox,
  ownDatabase,
  ownFiles,
  ownStreams,
  RELEASE,
  type RouteRow,
  type RunningService,
  revocationPropagation,
  type StopHook,
  schemaCheck,
  secretsOf,
  startJobs,
  startService,
  trustAuthorities,
  validNow,
  watchStore,
  writesCheck,
} from '@caracal/service'
import { outboxEvidence, type Streams, startOutboxDispatcher } from '@caracal/streams'
import { authorityRoutes } from './authority/routes.ts'
import { mandateAuthenticator } from './callers/mandate-authenticator.ts'
import { refusalEvidence } from './callers/refusal-evidence.ts'
import { forgetReceiptsJob } from './change/forget-receipts.ts'
import type { CoordinatorConfiguration } from './configuration.ts'
import { delegationReadRoutes } from './delegations/read-routes.ts'
import { delegationWriteRoutes } from './delegations/write-routes.ts'
import type { CoordinatorDesk } from './desk.ts'
import { idempotencyStore } from './idempotency-store.ts'
import { coordinatorMetrics } from './metrics.ts'
import { sessionReadRoutes } from './sessions/read-routes.ts'
import { sweepJob } from './sessions/sweep.ts'
import { sessionWriteRoutes } from './sessions/write-routes.ts'
import { configurationFromPostgres } from './zones/configuration-source.ts'
import { knownZones } from './zones/known-zones.ts'

/** What the process may hand over instead of letting the Coordinator open its own; what is handed over is not closed here. */
export type CoordinatorShared = {
  readonly database?: Database
  readonly streams?: Streams
  readonly logger?: Logger
  /** Time, for tests. */
  readonly clock?: Clock
  readonly version?: string
}

/** What one caller may do at one replica; `authority` asks policy about every resource of the zone. */
const RATES = { mutation: { perSecond: 500, burst: 1_000 }, authority: { perSecond: 10, burst: 50 } }

/**
 * Starts the Coordinator: sessions and delegations, and the dispatcher that publishes what their transactions left in the outbox.
 * Resolves when every zone is loaded and the revocation view has joined the broadcast.
 */
export async function startCoordinator(config: CoordinatorConfiguration, shared: CoordinatorShared = {}): Promise<RunningService> {
  const logger = shared.logger ?? createLogger({ name: 'coordinator', level: config.LOG_LEVEL, secrets: () => secretsOf(config) })
  if (config.CA_BUNDLE !== undefined) trustAuthorities(config.CA_BUNDLE)
  const version = shared.version ?? RELEASE
  const stops: StopHook[] = []
  const onStop: OnStop = (name, stop) => stops.push({ name, stop })
  try {
    const database = (shared.database ?? (await ownDatabase('coordinator', config, logger, onStop))).as('coordinator')
    const streams = shared.streams ?? (await ownStreams('coordinator', config, database, logger, onStop))
    const store = watchStore(streams)
    const clock = shared.clock ?? store.clock.now

    const dispatcher = startOutboxDispatcher({ database, streams, logger, producer: 'coordinator' })
    onStop('outbox', dispatcher.stop)

    const unloadable = { tell: () => {} }
    const state = new ReplicaState({ failed: () => unloadable.tell() })
    const issuers = { issuerUrl: config.ISSUER_URL, issuerAliases: config.ISSUER_ALIASES }
    const configuration = followConfiguration({
      state,
      streams,
      source: configurationFromPostgres(database, issuers, clock),
      replica: `coordinator-${hostname()}-${randomBytes(3).toString('hex')}`,
      role: 'coordinator',
      onError: (what, error) => logger.warn({ err: error, what }, 'configuration could not be followed'),
    })
    onStop('configuration', configuration.stop)

    const view = new RevocationView({ maxAge: config.REVOCATION_MAX_AGE / 1000 })
    const revocations = followRevocations({
      view,
      streams,
      source: postgresRevocations(database, streams, clock),
      clock,
      onError: (what, error) => logger.warn({ err: error, what }, 'revocations could not be followed'),
    })
    onStop('revocations', revocations.stop)
    onStop('heartbeat', streams.heartbeat('caracal.revocations').stop)
    await Promise.all([configuration.loaded, revocations.joined])

    const verifier = mandateVerifier({ keyring: (zone) => state.zone(zone)?.keyring, refetch: keyRefetcher(configuration.load) })
    const desk: CoordinatorDesk = {
      database,
      streams,
      cursors: createCursors(config.STREAMS_HMAC_KEY.current.bytes),
      clock,
      state,
      view,
      refresh: configuration.refresh,
      evidence: outboxEvidence({ service: 'coordinator', keys: config.AUDIT_HMAC_KEY, clock }),
      limits: {
        zone: config.SESSIONS_PER_ZONE,
        application: config.SESSIONS_PER_APPLICATION,
        children: config.SESSIONS_PER_PARENT,
        depth: config.SESSION_DEPTH,
      },
    }

    const refusals = refusalEvidence(desk, logger)
    onStop('refusals', refusals.close)

    const metrics = createMetrics({ service: 'coordinator', version, mode: config.CARACAL_MODE })
    ownFiles(
      config,
      { database: shared.database === undefined ? database : undefined, streams: shared.streams === undefined ? streams : undefined },
      { logger, metrics, onStop },
    )
    revocations.measure(revocationPropagation(metrics))
    unloadable.tell = observeFreshness(metrics, { revocations: view, policyAge: () => state.confirmedAgo() })
    observeOutbox(metrics, 'coordinator', dispatcher.health)
    const own = coordinatorMetrics(metrics, {
      zones: () => state.zones().length,
      verified: verifier.cached,
    })
    observeDatabase(metrics, database)
    store.observe(metrics)
    const sweep = sweepJob(desk, { everyMs: config.SWEEP_INTERVAL, onSwept: (sessions) => own.swept.inc(sessions) })
    stops.push(startJobs([sweep, forgetReceiptsJob(desk)], { database, metrics, logger }))

    const routes: RouteRow[] = [
      ...sessionReadRoutes(desk),
      ...sessionWriteRoutes(desk),
      ...authorityRoutes(desk),
      ...delegationReadRoutes(desk),
      ...delegationWriteRoutes(desk),
    ]
    const knowsZone = knownZones(state, configuration)
    const { claim, release } = streams
    return await startService({
      name: 'coordinator',
      version: { version },
      host: config.HOST,
      port: config.PORT,
      metricsPort: config.METRICS_PORT,
      metricsBearer: () => validNow(config.METRICS_BEARER),
      routes,
      authenticator: firstOf(
        mandateAuthenticator({
          dependencies: { state, view, verifier, claim, release, refresh: configuration.refresh, clock },
          rows: routes,
          knowsZone,
          refusals,
        }),
        operatorAuthenticator(config, database, clock),
      ),
      resolveZone: async (text) => (isId('zone', text) && (await knowsZone(text)) ? text : null),
      idempotency: idempotencyStore(database, clock),
      rates: RATES,
      checks: [
        { name: 'postgres', kind: 'dependency', check: () => database.ping() },
        writesCheck(database),
        { name: 'streams', kind: 'dependency', check: () => streams.ping() },
        ...store.checks('warning'),
        {
          name: 'schema',
          kind: 'dependency',
          reason: 'schema_incompatible',
          check: schemaCheck(database),
        },
        { name: 'revocation_view', kind: 'safety', reason: 'revocation_view_stale', check: () => view.unfit() === null },
        { name: 'configuration', kind: 'safety', reason: 'starting', check: () => state.standing() === 'current' },
      ],
      metrics,
      logger,
      onStop: stops,
      drainDelayMs: config.DRAIN_DELAY,
      trustedProxies: config.TRUSTED_PROXIES,
      limits: { maxConnections: config.MAX_CONNECTIONS },
      checkReplies: config.CARACAL_MODE === 'dev',
    })
  } catch (error) {
    for (const hook of stops.reverse()) await Promise.resolve(hook.stop()).catch(() => undefined)
    throw error
  }
}

/** COORDINATOR_TOKEN, and the tokens that the API hands out. */
function operatorAuthenticator(config: CoordinatorConfiguration, database: Database, clock: Clock) {
  return createAdminAuthenticator({
    deployment: [
      {
        principal: { kind: 'admin', id: 'coordinator', name: 'COORDINATOR_TOKEN', roles: ['viewer', 'operator'], zone: null },
        values: () => validNow(config.COORDINATOR_TOKEN),
      },
    ],
    lookup: async (digest) => (await findUsableAdminToken(database.query, digest, clock())) ?? null,
    throttle: createFailureThrottle({ now: clock }),
    now: clock,
  })
}
