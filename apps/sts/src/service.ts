import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import type { Clock, RequestId, ZoneId } from '@caracal/core'
import { followRevocations, mandateVerifier, postgresRevocations, RevocationView } from '@caracal/enforcement'
import { type Database, enqueue, findDelegations, findSessions, inZone } from '@caracal/postgres'
import {
  createAdminAuthenticator,
  createFailureThrottle,
  createInternalVerifier,
  createLogger,
  createMetrics,
  type Logger,
  observeDatabase,
  observeFreshness,
  observeSpool,
  ownDatabase,
  ownFiles,
  ownStreams,
  RELEASE,
  type RunningService,
  revocationPropagation,
  type StopHook,
  schemaCheck,
  secretsOf,
  shedLoad,
  startJobs,
  startService,
  trustAuthorities,
  validNow,
  watchStore,
} from '@caracal/service'
import { openEvidence, outboxEvidence, type Streams, startOutboxDispatcher, startRefusalAggregator } from '@caracal/streams'
import { keepCharges } from './charges/charge-keeping.ts'
import type { StsConfiguration } from './configuration.ts'
import { providerCredentials } from './credentials/provider-credentials.ts'
import { fetchProviderToken } from './credentials/token-endpoint.ts'
import { followChanges } from './follow-changes.ts'
import { pinIssuer } from './keys/pin-issuer.ts'
import { rotateZoneKeys } from './keys/zone-key-store.ts'
import { stsMetrics } from './metrics.ts'
import type { RevocationDesk } from './oauth/revoke-mandate.ts'
import { replicaDesk } from './replicas/replica-desk.ts'
import { reportOwnState } from './replicas/report-own-state.ts'
import { authorizationRoutes } from './routes/authorize.ts'
import { discoveryRoutes } from './routes/discovery.ts'
import { internalRoutes } from './routes/internal.ts'
import { keyRoutes, rotationEvent } from './routes/keys.ts'
import { tokenRoutes } from './routes/token.ts'
import { tokenStateRoutes } from './routes/token-state.ts'
import { lineageReader } from './zones/lineage-reader.ts'
import type { ZoneState } from './zones/zone-state.ts'
import { openZones } from './zones/zones.ts'

/** What the process may hand over instead of letting the STS open its own; what is handed over is not closed here. */
export type StsShared = {
  readonly database?: Database
  readonly streams?: Streams
  readonly logger?: Logger
  /** Time, for tests. */
  readonly clock?: Clock
  readonly version?: string
}

/** Evidence is flushed this long when the service stops; what is left stays on the volume. Milliseconds. */
const FLUSH_MS = 3_000

/** Metadata and key sets are public: this many requests per source. */
const RATES = { discovery: { perSecond: 50, burst: 200 } }

/**
 * Starts the STS: mandates, their keys, introspection and revocation, and what the other roles ask of it. Resolves when every
 * zone is loaded and has keys. Rejects when Postgres or the streams do not answer at start.
 */
export async function startSts(config: StsConfiguration, shared: StsShared = {}): Promise<RunningService> {
  const logger = shared.logger ?? createLogger({ name: 'sts', level: config.LOG_LEVEL, secrets: () => secretsOf(config) })
  if (config.CA_BUNDLE !== undefined) trustAuthorities(config.CA_BUNDLE)
  const version = shared.version ?? RELEASE
  const stops: StopHook[] = []
  const onStop = (name: string, stop: StopHook['stop']) => stops.push({ name, stop })
  try {
    const database = (shared.database ?? (await ownDatabase('sts', config, logger, onStop))).as('sts')
    const streams = shared.streams ?? (await ownStreams('sts', config, database, logger, onStop))
    const store = watchStore(streams)
    const clock = shared.clock ?? store.clock.now
    await pinIssuer(database, config, clock(), logger)
    const evidence = await openEvidence({
      dir: config.SPOOL_DIR,
      service: 'sts',
      keys: config.AUDIT_HMAC_KEY,
      streams,
      mode: config.EVIDENCE,
      maxBytes: config.SPOOL_MAX_BYTES,
      logger,
      clock,
    })
    if (shared.database === undefined) {
      // What is revoked here must not wait for the API to come back; in one process the API's dispatcher is enough.
      const dispatcher = startOutboxDispatcher({ database, streams, logger, producer: 'sts' })
      onStop('outbox', dispatcher.stop)
    }
    const evidenceIn = outboxEvidence({ service: 'sts', keys: config.AUDIT_HMAC_KEY, clock })
    onStop('evidence', async () => {
      const left = await evidence.close(FLUSH_MS)
      if (left > 0) logger.warn({ left }, 'evidence stays on the volume')
    })

    const told = { rotated: () => {}, changed: () => {}, unloadable: () => {} }
    const zones = openZones({
      database,
      kek: config.ZONE_KEK,
      issuerUrl: config.ISSUER_URL,
      issuerAliases: config.ISSUER_ALIASES,
      clock,
      logger,
      onChange: () => told.changed(),
      onUnloadable: () => told.unloadable(),
      onPromotion: () => told.rotated(),
    })
    const lineages = lineageReader({
      sessions: (zone, ids) => inZone(zone, () => findSessions(database.query, zone, ids)),
      delegations: (zone, ids) => inZone(zone, () => findDelegations(database.query, zone, ids)),
    })
    const changes = await followChanges({ streams, zones, lineages, clock, logger })
    onStop('changes', changes.stop)

    const source = postgresRevocations(database, streams, clock)
    const view = new RevocationView({ maxAge: config.REVOCATION_MAX_AGE / 1000 })
    const revocations = followRevocations({
      view,
      streams,
      source,
      clock,
      onError: (what, error) => logger.warn({ err: error, what }, 'revocations could not be followed'),
    })
    onStop('revocations', revocations.stop)
    const heartbeat = streams.heartbeat('caracal.revocations')
    onStop('heartbeat', heartbeat.stop)
    await revocations.joined

    const mandates = mandateVerifier({ keyring: (zone) => zones.get(zone)?.keyring })
    const metrics = createMetrics({ service: 'sts', version, mode: config.CARACAL_MODE })
    ownFiles(
      config,
      { database: shared.database === undefined ? database : undefined, streams: shared.streams === undefined ? streams : undefined },
      { logger, metrics, onStop },
    )
    const throttle = createFailureThrottle({ now: clock })
    revocations.measure(revocationPropagation(metrics))
    const own = stsMetrics(metrics, {
      zones: () => zones.all().length,
      unloadable: () => zones.all().filter((zone) => !zone.policies.ok).length,
      lineages: lineages.size,
      verified: mandates.cached,
    })
    told.rotated = () => own.keyRotations.inc()
    told.unloadable = observeFreshness(metrics, {
      revocations: view,
      policyAge: () => secondsOf(millisSince(changes.comparedAt(), clock())),
    })
    observeDatabase(metrics, database)
    store.observe(metrics)
    observeSpool(metrics, evidence)
    const shedding = shedLoad({ maxDelayMs: config.MAX_QUEUE_DELAY, maxLagMs: config.LEDGER_MAX_LAG, evidence, metrics })
    onStop('load shedding', shedding.stop)
    if (config.EVIDENCE === 'async') metrics.insecureSetting('EVIDENCE')

    const desk: RevocationDesk = {
      clock,
      zones,
      revocations: view,
      streams,
      throttle,
      mandates,
      lineages,
      evidence,
      shed: shedding.admit,
      evidenceIn,
      database,
      view,
    }
    const refusals = startRefusalAggregator({ evidence, type: 'mandate.refused', logger })
    onStop('refusals', refusals.close)
    const credentials = providerCredentials({
      zones,
      kek: config.ZONE_KEK,
      clock,
      evidence,
      logger,
      metrics: own,
      fetchToken: fetchProviderToken(clock),
    })
    onStop('provider credentials', credentials.stop)
    const charges = keepCharges({ database, clock, config, evidenceIn, metrics })
    const replicas = replicaDesk({ zones, revocations: source, database, clock, logger })
    const reporting = reportOwnState({ replicas, zones, replica: `sts-${hostname()}-${randomBytes(3).toString('hex')}` })
    onStop('own state', reporting.stop)
    told.changed = reporting.changed
    const rotate = async (zone: ZoneId, requestId: RequestId) => {
      const outcome = await rotateZoneKeys(database, config.ZONE_KEK, zone, clock(), (tx) =>
        enqueue(tx, evidenceIn(rotationEvent(zone, requestId))),
      )
      if (outcome.promoted) told.rotated()
      await zones.check()
      return outcome
    }

    const watched = { configuration: { everyMs: 5_000, endedAgoMs: () => millisSince(changes.comparedAt(), clock()) } }
    stops.push(startJobs(charges.jobs, { database, metrics, logger, watched }))
    return await startService({
      name: 'sts',
      version: { version },
      host: config.HOST,
      port: config.PORT,
      metricsPort: config.METRICS_PORT,
      metricsBearer: () => validNow(config.METRICS_BEARER),
      routes: [
        ...tokenRoutes(desk, own, refusals),
        ...tokenStateRoutes(desk),
        ...authorizationRoutes(),
        ...discoveryRoutes(zones, config.ISSUER_URL),
        ...internalRoutes({ replicas, credentials, sealing: { kek: config.ZONE_KEK, zones }, charges: charges.desk }),
        ...(config.STS_ADMIN_TOKEN === undefined ? [] : keyRoutes(zones, rotate)),
      ],
      authenticator: createAdminAuthenticator({
        deployment: [
          {
            principal: { kind: 'admin', id: 'sts-admin', name: 'STS_ADMIN_TOKEN', roles: ['admin'], zone: null },
            values: () => validNow(config.STS_ADMIN_TOKEN),
          },
        ],
        // Admin tokens of the API are the API's: here only the deployment's own counts.
        lookup: async () => null,
        now: clock,
      }),
      internal: createInternalVerifier({ keys: () => config.GATEWAY_STS_HMAC_KEY, now: clock }),
      rates: RATES,
      checks: [
        { name: 'postgres', kind: 'dependency', check: () => database.ping() },
        { name: 'streams', kind: 'dependency', check: () => streams.ping() },
        // A client's assertion is claimed in the store.
        ...store.checks('safety'),
        {
          name: 'schema',
          kind: 'dependency',
          reason: 'schema_incompatible',
          check: schemaCheck(database),
        },
        { name: 'revocation_view', kind: 'safety', reason: 'revocation_view_stale', check: () => view.unfit() === null },
        { name: 'evidence', kind: 'safety', reason: 'evidence_unavailable', check: () => evidence.writable() },
        // One zone that cannot sign is refused by itself; the replica goes only when it can sign for nobody (P-140).
        { name: 'keys', kind: 'safety', reason: 'keys_unavailable', check: () => canSign(zones.all()) },
        { name: 'configuration', kind: 'dependency', check: () => changes.comparedAt() !== null },
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

function millisSince(at: number | null, now: number): number | null {
  return at === null ? null : Math.max(0, now - at)
}

function secondsOf(ms: number | null): number | null {
  return ms === null ? null : ms / 1000
}

function canSign(zones: readonly ZoneState[]): boolean {
  return zones.length === 0 || zones.some((zone) => zone.signer !== undefined)
}
