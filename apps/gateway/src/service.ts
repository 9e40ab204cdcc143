import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { refuse } from '@caracal/core'
import { followConfiguration, followRevocations, keyRefetcher, mandateVerifier, ReplicaState, RevocationView } from '@caracal/enforcement'
import {
  addressOf,
  answerProbe,
  createEgressGuard,
  createInternalClient,
  createLogger,
  createMetrics,
  createProbes,
  createSourceOf,
  gracefulStop,
  type Logger,
  listen,
  observeConnections,
  observeFreshness,
  observeSpool,
  ownDatabase,
  ownFiles,
  ownStreams,
  RELEASE,
  type RunningService,
  revocationPropagation,
  type StopHook,
  type StopReport,
  secretsOf,
  shedLoad,
  startMetricsListener,
  trustAuthorities,
  validNow,
  watchStore,
} from '@caracal/service'
import { openEvidenceWriter, type Streams, startRefusalAggregator } from '@caracal/streams'
import { callRates } from './call-rates.ts'
import type { GatewayConfiguration } from './configuration.ts'
import { CredentialCache } from './credential-cache.ts'
import { noteEarlyRefusals } from './early-refusals.ts'
import { governCalls } from './govern-call.ts'
import { createGatewayServer, type Handle, sendRefusal } from './http-server.ts'
import { LiveCalls } from './live-calls.ts'
import { gatewayMetrics } from './metrics.ts'
import { observeStsCalls } from './observe-sts-calls.ts'
import { stsSource } from './sts-source.ts'
import { UpstreamPools } from './upstream-pools.ts'

/** What the process may hand over instead of letting the Gateway open its own; what is handed over is not closed here. */
export type GatewayShared = { readonly streams?: Streams; readonly logger?: Logger; readonly version?: string }

/** Connections for streams that Postgres carries. */
const STREAM_CONNECTIONS = 4

/** Evidence is flushed this long when the service stops; what is left stays on the volume. Milliseconds. */
const FLUSH_MS = 3_000

/**
 * Starts the Gateway. Resolves when it listens; it is ready as soon as the STS has given it its zones and revocations, and refuses
 * until then. It needs no database: configuration, revocations and credentials come from the STS.
 */
export async function startGateway(config: GatewayConfiguration, shared: GatewayShared = {}): Promise<RunningService> {
  const logger = shared.logger ?? createLogger({ name: 'gateway', level: config.LOG_LEVEL, secrets: () => secretsOf(config) })
  if (config.CA_BUNDLE !== undefined) trustAuthorities(config.CA_BUNDLE)
  const version = shared.version ?? RELEASE
  const stops: StopHook[] = []
  const onStop = (name: string, stop: StopHook['stop']) => stops.push({ name, stop })
  // Postgres only where it carries the streams: a small installation without Redis.
  const carrier =
    shared.streams === undefined && config.STREAMS_DRIVER === 'postgres'
      ? await ownDatabase('gateway', { ...config, DATABASE_POOL: STREAM_CONNECTIONS }, logger, onStop)
      : null
  const streams = shared.streams ?? (await ownStreams('gateway', config, carrier, logger, onStop))
  const store = watchStore(streams)
  const clock = store.clock.now
  const metrics = createMetrics({ service: 'gateway', version, mode: config.CARACAL_MODE })
  const sts = observeStsCalls(
    createInternalClient({ baseUrl: config.STS_URL, caller: 'gateway', keys: () => config.GATEWAY_STS_HMAC_KEY, now: clock }),
    metrics,
  )
  onStop('sts client', () => sts.close())
  const evidence = await openEvidenceWriter({
    dir: config.SPOOL_DIR,
    service: 'gateway',
    keys: config.AUDIT_HMAC_KEY,
    streams,
    mode: config.EVIDENCE,
    maxBytes: config.SPOOL_MAX_BYTES,
    logger,
    clock,
  })
  onStop('evidence', async () => {
    const left = await evidence.close(FLUSH_MS)
    if (left > 0) logger.warn({ left }, 'evidence stays on the volume')
  })
  const refusals = startRefusalAggregator({ evidence, type: 'call.refused', logger })
  onStop('refusals', refusals.close)

  const identity = { replica: `gateway-${hostname()}-${randomBytes(3).toString('hex')}`, role: 'gateway' }
  const source = stsSource(sts, identity)
  const onError = (what: string, error: unknown) => logger.warn({ err: error, what }, 'a replica could not be kept current')
  const unloadable = { tell: () => {} }
  const state = new ReplicaState({ changed: (zone) => live.recheck(zone), failed: () => unloadable.tell() })
  const follower = followConfiguration({ state, streams, source: source.configuration, ...identity, onError })
  onStop('configuration', follower.stop)
  const view = new RevocationView({ maxAge: config.REVOCATION_MAX_AGE / 1000 })
  const revocations = followRevocations({ view, streams, source: source.revocations, clock, onError })
  onStop('revocations', revocations.stop)

  const verifier = mandateVerifier({ keyring: (zone) => state.zone(zone)?.keyring, refetch: keyRefetcher(follower.load) })
  const live = new LiveCalls({ watch: (ids, cut) => view.watch(ids, cut), clock })
  const guard = createEgressGuard({ allowHosts: config.UPSTREAM_HOST_ALLOWLIST.length === 0 ? undefined : config.UPSTREAM_HOST_ALLOWLIST })
  const pools = new UpstreamPools({ guard })
  onStop('upstreams', () => pools.close())
  const credentials = new CredentialCache(sts, clock)
  const rates = callRates({ perApplication: config.APPLICATION_RATE, unprovenPerSource: config.UNPROVEN_RATE, verifier })
  const sourceOf = createSourceOf(config.TRUSTED_PROXIES)
  ownFiles(
    config,
    { database: carrier ?? undefined, streams: shared.streams === undefined ? streams : undefined },
    { logger, metrics, onStop },
  )
  revocations.measure(revocationPropagation(metrics))
  unloadable.tell = observeFreshness(metrics, { revocations: view, policyAge: () => state.confirmedAgo() })
  const own = gatewayMetrics(metrics, {
    zones: () => state.zones().length,
    verified: verifier.cached,
    live: () => live.size,
    upstreams: () => pools.size(),
    credentials: () => credentials.size,
    rateBuckets: rates,
  })
  store.observe(metrics)
  observeSpool(metrics, evidence)
  const shedding = shedLoad({ maxDelayMs: config.MAX_QUEUE_DELAY, maxLagMs: config.LEDGER_MAX_LAG, evidence, metrics })
  onStop('load shedding', shedding.stop)
  if (config.EVIDENCE === 'async') metrics.insecureSetting('EVIDENCE')

  const probes = createProbes({
    service: 'gateway',
    version,
    checks: [
      { name: 'configuration', kind: 'dependency', check: () => state.standing() === 'current' },
      { name: 'streams', kind: 'dependency', check: () => streams.ping() },
      // A single-use mandate is claimed in the store.
      ...store.checks('safety'),
      { name: 'revocation_view', kind: 'safety', reason: 'revocation_view_stale', check: () => view.unfit() === null },
      { name: 'evidence', kind: 'safety', reason: 'evidence_unavailable', check: () => evidence.writable() },
    ],
    logger,
    metrics,
  })
  const server = createGatewayServer({
    handle: governCalls({
      calls: {
        state,
        view,
        verifier,
        claim: streams.claim,
        release: streams.release,
        refresh: follower.refresh,
        admit: rates.admit,
        shed: shedding.admit,
        clock,
      },
      evidence,
      credentials,
      pools,
      live,
      metrics: own,
      logger,
      clock,
      baseDomain: config.GATEWAY_BASE_DOMAIN?.toLowerCase() ?? null,
      maxRequestBytes: config.MAX_REQUEST_BYTES,
      rates,
      sourceOf,
      noteEarly: noteEarlyRefusals({ refusals, knowsZone: (zone) => state.zone(zone) !== undefined, sourceOf }),
      ownRoutes: ownRoutes(probes, version),
    }),
    onError: (error, requestId) => logger.error({ err: error, requestId }, 'a call failed in the Gateway'),
    maxConnections: config.MAX_CONNECTIONS,
  })
  observeConnections(metrics, server)
  // Whoever keeps a connection open goes to another replica with the next call, before this one closes.
  server.prependListener('request', (_request, response) => {
    if (probes.draining()) response.shouldKeepAlive = false
  })
  const metricsListener = await startMetricsListener({
    service: 'gateway',
    host: config.HOST,
    port: config.METRICS_PORT,
    bearer: () => validNow(config.METRICS_BEARER),
    metrics,
    probes,
    logger,
  })
  try {
    await listen(server, config.HOST, config.PORT)
    await Promise.all([follower.loaded, revocations.joined])
  } catch (error) {
    server.close()
    await metricsListener.close()
    throw error
  }
  await probes.refresh()
  probes.started()
  const address = addressOf(server, config.HOST)
  logger.info({ address: address.url, metrics: metricsListener.address.url }, 'listening')

  let stopping: Promise<StopReport> | undefined
  return {
    name: 'gateway',
    address,
    metricsAddress: metricsListener.address,
    probes,
    routes: () => [],
    stop() {
      stopping ??= gracefulStop({
        logger,
        unready: probes.drain,
        drainDelayMs: config.DRAIN_DELAY,
        servers: [server],
        hooks: stops,
        async last() {
          live.close()
          probes.close()
          await metricsListener.close()
          metrics.close()
        },
      })
      return stopping
    },
  }
}

/** Requests that name no resource: probes and version; everything else is not here. */
function ownRoutes(probes: Parameters<typeof answerProbe>[1], version: string): Handle {
  return async (request, response, requestId) => {
    const path = (request.url ?? '').split('?')[0] ?? ''
    if (request.method !== 'GET' && request.method !== 'HEAD') return sendRefusal(response, refuse('not_found'), requestId)
    const found =
      path === '/version'
        ? { status: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ service: 'gateway', version }) }
        : answerProbe(path, probes)
    if (found === undefined) return sendRefusal(response, refuse('not_found'), requestId)
    response.writeHead(found.status, { ...found.headers, 'x-request-id': requestId, 'content-length': Buffer.byteLength(found.body) })
    response.end(request.method === 'HEAD' ? undefined : found.body)
  }
}
