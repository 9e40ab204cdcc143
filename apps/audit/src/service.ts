import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { type Clock, deriveKey, isId, type ZoneId } from '@caracal/core'
import { type Database, findUsableAdminToken, findZoneByName } from '@caracal/postgres'
import {
  type AdminPrincipal,
  createAdminAuthenticator,
  createCursors,
  createLogger,
  createMetrics,
  type DeploymentToken,
  type Logger,
  observeDatabase,
  ownDatabase,
  ownFiles,
  ownStreams,
  RELEASE,
  type RunningService,
  type StopHook,
  schemaCheck,
  secretsOf,
  startService,
  trustAuthorities,
  validNow,
  watchStore,
  watchTasks,
  writesCheck,
} from '@caracal/service'
import { outboxEvidence, type Streams, startOutboxDispatcher } from '@caracal/streams'
import { fileAnchor } from './checkpoint/anchor.ts'
import { checkpointer } from './checkpoint/checkpointer.ts'
import type { AuditConfiguration } from './configuration.ts'
import { consumeEvidence } from './ingest/ingest.ts'
import { producers } from './ingest/producers.ts'
import { followZones, zoneLogs } from './keys/zone-logs.ts'
import { auditMetrics, ledgerMetrics } from './metrics.ts'
import { recordReads } from './reading/record-reads.ts'
import type { AuditDesk } from './routes/desk.ts'
import { eventRoutes } from './routes/events.ts'
import { exportRoutes } from './routes/exports.ts'
import { logRoutes } from './routes/log.ts'
import { quarantineRoutes } from './routes/quarantine.ts'
import { collectFindings } from './verification/findings.ts'
import { selfCheck } from './verification/self-check.ts'

/** What the process may hand over instead of letting Audit open its own; what is handed over is not closed here. */
export type AuditShared = {
  readonly database?: Database
  readonly streams?: Streams
  readonly logger?: Logger
  /** Time, for tests. */
  readonly clock?: Clock
  readonly version?: string
}

/**
 * Starts Audit: evidence from the stream into the ledger of each zone, checkpoints, search, proofs, export, and the ledger's own
 * verification. Every head is verified before anything is signed; a log that does not hold is served, not signed, and never
 * rewritten. Rejects when Postgres or the streams do not answer at start.
 */
export async function startAudit(config: AuditConfiguration, shared: AuditShared = {}): Promise<RunningService> {
  const logger = shared.logger ?? createLogger({ name: 'audit', level: config.LOG_LEVEL, secrets: () => secretsOf(config) })
  if (config.CA_BUNDLE !== undefined) trustAuthorities(config.CA_BUNDLE)
  const version = shared.version ?? RELEASE
  const stops: StopHook[] = []
  const onStop = (name: string, stop: StopHook['stop']) => stops.push({ name, stop })
  try {
    const database = (shared.database ?? (await ownDatabase('audit', config, logger, onStop))).as('audit')
    const streams = shared.streams ?? (await ownStreams('audit', config, database, logger, onStop))
    const store = watchStore(streams)
    const clock = shared.clock ?? store.clock.now
    const settings = { kek: config.ZONE_KEK, issuerUrl: config.ISSUER_URL }
    const metrics = createMetrics({ service: 'audit', version, mode: config.CARACAL_MODE })
    ownFiles(
      config,
      { database: shared.database === undefined ? database : undefined, streams: shared.streams === undefined ? streams : undefined },
      { logger, metrics, onStop },
    )
    const own = auditMetrics(metrics, { database, streams })
    observeDatabase(metrics, database)
    store.observe(metrics)
    store.observeRedis(metrics)

    const findings = collectFindings({
      onNew: (finding) => {
        own.findings.inc({ kind: finding.kind })
        logger.error(finding, 'the ledger does not hold: its checkpoints stop until it is repaired')
      },
      onGone: (zone) => logger.info({ zone }, 'the ledger holds again'),
    })
    const grown = { tell: (_zone: ZoneId) => {} }
    const logs = zoneLogs({ database, settings, clock, logger, onNew: (zone) => grown.tell(zone) })
    const checkpoints = checkpointer({
      database,
      logs,
      settings,
      anchors: config.AUDIT_ANCHORS.map(fileAnchor),
      findings,
      clock,
      logger,
      onAnchorFailure: () => own.anchorFailures.inc(),
    })
    const check = selfCheck({ database, settings, checkpoints, findings, clock, logger })
    onStop('self-check', check.stop)
    await check.heads()
    grown.tell = checkpoints.grown
    const zones = await followZones(logs, streams, logger)
    onStop('zones', zones.stop)
    watchTasks(metrics, {
      ledger_heads: { everyMs: 60_000, endedAgoMs: () => since(check.checkedAt().heads) },
      ledger_everything: { everyMs: 86_400_000, endedAgoMs: () => since(check.checkedAt().everything) },
    })
    ledgerMetrics(metrics, {
      findings: () => findings.all().length,
      logs: () => logs.known().length,
      checkpointAge: checkpoints.age,
      headsCheckedAt: () => check.checkedAt().heads,
      everythingCheckedAt: () => check.checkedAt().everything,
    })

    const outbox = startOutboxDispatcher({ database, streams, logger, producer: 'audit' })
    onStop('outbox', outbox.stop)
    const reads = recordReads({ database, evidence: outboxEvidence({ service: 'audit', keys: config.AUDIT_HMAC_KEY, clock }), logger })
    onStop('reads', reads.stop)

    // Stopped in the reverse order: the batch in hand ends, then what it caused is signed and confirmed.
    onStop('checkpoints', checkpoints.stop)
    const known = producers({ database, streams, clock, logger })
    onStop('producers', known.stop)
    const consumption = await consumeEvidence(
      { database, logs, producers: known, keys: config.AUDIT_HMAC_KEY, metrics: own, clock, logger, onGrown: checkpoints.grown },
      streams,
      { consumer: `${hostname()}-${randomBytes(4).toString('hex')}`, batch: config.INGEST_BATCH },
    )
    onStop('ingest', consumption.stop)
    await checkpoints.sweep()

    const desk: AuditDesk = {
      database,
      streams,
      checkpoints,
      settings,
      reads,
      cursors: createCursors(deriveKey(config.AUDIT_HMAC_KEY.current.bytes, 'evidence', 'cursors')),
      metrics: own,
    }
    return await startService({
      name: 'audit',
      version: { version },
      host: config.HOST,
      port: config.PORT,
      metricsPort: config.METRICS_PORT,
      metricsBearer: () => validNow(config.METRICS_BEARER),
      routes: [...eventRoutes(desk), ...logRoutes(desk), ...exportRoutes(desk), ...quarantineRoutes(desk)],
      authenticator: createAdminAuthenticator({
        deployment: deploymentTokens(config),
        lookup: async (digest) => (await findUsableAdminToken(database.query, digest, clock())) ?? null,
        now: clock,
      }),
      resolveZone: async (text) => (isId('zone', text) ? text : ((await findZoneByName(database.query, text))?.id ?? null)),
      checks: [
        { name: 'postgres', kind: 'dependency', check: () => database.ping() },
        writesCheck(database),
        { name: 'streams', kind: 'dependency', check: () => streams.ping() },
        ...store.checks('warning'),
        {
          name: 'schema',
          kind: 'safety',
          reason: 'schema_incompatible',
          check: schemaCheck(database),
        },
        // A log that does not hold degrades `/health`; it never keeps a replica from serving.
        { name: 'ledger', kind: 'warning', check: () => findings.all().length === 0 },
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

function since(at: number | null): number | null {
  return at === null ? null : Date.now() - at
}

function deploymentTokens(config: AuditConfiguration): DeploymentToken[] {
  const token = (id: AdminPrincipal['id'], name: string, values: DeploymentToken['values']): DeploymentToken => {
    return { principal: { kind: 'admin', id, name, roles: ['admin'], zone: null }, values }
  }
  return [
    token('audit-admin', 'AUDIT_ADMIN_TOKEN', () => validNow(config.AUDIT_ADMIN_TOKEN)),
    token('bootstrap', 'ADMIN_TOKEN', () => validNow(config.ADMIN_TOKEN)),
  ]
}
