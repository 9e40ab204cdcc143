import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import type { Clock } from '@caracal/core'
import {
  type CallDependencies,
  type ConfigurationFollower,
  followConfiguration,
  followRevocations,
  keyRefetcher,
  mandateVerifier,
  ReplicaState,
  type RevocationFollower,
  RevocationView,
  rememberUses,
} from '@caracal/enforcement'
import {
  type Check,
  createEgressGuard,
  createInternalClient,
  createLogger,
  createMetrics,
  createProbes,
  createSourceOf,
  type EgressGuard,
  gatherMetrics,
  type InternalClient,
  type Logger,
  type Metrics,
  type OtherMetrics,
  observeFreshness,
  observeSpool,
  ownDatabase,
  ownFiles,
  ownStreams,
  type Probes,
  RELEASE,
  revocationPropagation,
  type StopHook,
  secretsOf,
  shedLoad,
  trustAuthorities,
  watchStore,
} from '@caracal/service'
import { type EvidenceWriter, openEvidence, type RefusalAggregator, type Streams, startRefusalAggregator } from '@caracal/streams'
import { type CallRates, callRates } from './call-rates.ts'
import type { AuthMode } from './callers/auth-settings.ts'
import { type Callers, openCallers } from './callers/open-callers.ts'
import { ChargeClient } from './charges/charge-client.ts'
import { openSlices } from './charges/open-slices.ts'
import { CredentialCache } from './credential/credential-cache.ts'
import { type EnforcementMetrics, enforcementMetrics } from './enforcement-metrics.ts'
import { type EnforcementConfiguration, LONGEST_UNCONFIRMED_MS } from './enforcement-settings.ts'
import { LiveCalls } from './live-calls.ts'
import { observeStsCalls } from './sts/observe-sts-calls.ts'
import { stsSource } from './sts/sts-source.ts'
import { UpstreamPools } from './upstream/upstream-pools.ts'

/** What the process may hand over instead of letting the role open its own; what is handed over is not closed here. */
export type EnforcementShared = {
  readonly streams?: Streams
  readonly logger?: Logger
  readonly version?: string
  /** Metrics of other roles in this process, which a scrape of this one answers with too. */
  readonly others?: OtherMetrics
  /** What its probes look at beside the role's own: threads of this process that it stands on. */
  readonly checks?: readonly Check[]
}

/** Who stands between callers and what is protected. */
export type EnforcementRole = 'gateway' | 'mcp-adapter'

/** Everything that deciding, proving, forwarding and cutting calls needs, opened and kept current. */
export type EnforcementPoint = {
  readonly role: EnforcementRole
  readonly version: string
  readonly config: EnforcementConfiguration
  readonly logger: Logger
  /** Wall clock that no jump of the machine's moves (milliseconds). */
  readonly clock: Clock
  readonly streams: Streams
  readonly metrics: Metrics
  /** Families that every enforcement point has. */
  readonly measured: EnforcementMetrics
  /** Signed calls to the STS, observed. */
  readonly sts: InternalClient
  readonly evidence: EvidenceWriter
  /** Evidence of what is refused before a caller is proven, counted. */
  readonly refusals: RefusalAggregator
  readonly state: ReplicaState
  readonly follower: ConfigurationFollower
  readonly view: RevocationView
  readonly revocations: RevocationFollower
  readonly live: LiveCalls
  readonly guard: EgressGuard
  readonly pools: UpstreamPools
  readonly credentials: CredentialCache
  readonly rates: CallRates
  /** Reads and proves whoever calls, in the way that is configured. */
  readonly callers: Callers
  /** Address that a request comes from, behind configured proxies. */
  readonly sourceOf: ReturnType<typeof createSourceOf>
  /** For whoever records each allowed call with `recordClaiming`: `calls.later`. Undefined where evidence and claims are in two stores. */
  readonly later: CallDependencies['later']
  /** What `decideCall` takes. */
  readonly calls: CallDependencies
  readonly probes: Probes
  /** Run in reverse order after the last call was answered. */
  readonly stops: readonly StopHook[]
  readonly onStop: (name: string, stop: StopHook['stop']) => void
  /** Lets a changed file become the value of a setting; what throws refuses it, and the old one stays. */
  readonly takes: (setting: string, take: (value: string) => void | Promise<void>) => void
}

/** Connections for streams that Postgres carries. */
const STREAM_CONNECTIONS = 4

/** Evidence is flushed this long when the service stops; what is left stays on the volume. Milliseconds. */
const FLUSH_MS = 3_000

/** What calls cost is settled this long when the service stops. Milliseconds. */
const SETTLE_MS = 3_000

/**
 * Opens what every enforcement point stands on. It needs no database: configuration, revocations and credentials come from the STS,
 * and until they came every call is refused. `checks`: what the role adds to its probes. `authMode`: its own, if not AUTH_MODE.
 */
export async function openEnforcementPoint(
  role: EnforcementRole,
  config: EnforcementConfiguration,
  shared: EnforcementShared = {},
  checks: readonly Check[] = [],
  authMode: AuthMode = config.AUTH_MODE,
): Promise<EnforcementPoint> {
  const logger = shared.logger ?? createLogger({ name: role, level: config.LOG_LEVEL, secrets: () => secretsOf(config) })
  if (config.CA_BUNDLE !== undefined) trustAuthorities(config.CA_BUNDLE)
  const version = shared.version ?? RELEASE
  const stops: StopHook[] = []
  const onStop = (name: string, stop: StopHook['stop']) => void stops.push({ name, stop })
  // Postgres only where it carries the streams: a small installation without Redis.
  const carrier =
    shared.streams === undefined && config.STREAMS_DRIVER === 'postgres'
      ? await ownDatabase(role, { ...config, DATABASE_POOL: STREAM_CONNECTIONS }, logger, onStop)
      : null
  const streams = shared.streams ?? (await ownStreams(role, config, carrier, logger, onStop))
  const store = watchStore(streams)
  const clock = store.clock.now
  const metrics = gatherMetrics(createMetrics({ service: role, version, mode: config.CARACAL_MODE }), role, shared.others)
  const sts = observeStsCalls(
    createInternalClient({ baseUrl: config.STS_URL, caller: role, keys: () => config.GATEWAY_STS_HMAC_KEY, now: clock }),
    metrics,
  )
  onStop('sts client', () => sts.close())
  const evidence = await openEvidence({
    dir: config.SPOOL_DIR,
    service: role,
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

  const identity = { replica: `${role}-${hostname()}-${randomBytes(3).toString('hex')}`, role }
  const source = stsSource(sts, identity)
  const onError = (what: string, error: unknown) => logger.warn({ err: error, what }, 'a replica could not be kept current')
  const unloadable = { tell: () => {} }
  const state = new ReplicaState({
    changed: (zone) => live.recheck(zone),
    failed: () => unloadable.tell(),
    maxUnconfirmed: config.POLICY_CACHE_TTL / 1000,
    remembers: config.POLICY_CACHE ? config.POLICY_CACHE_SIZE : 0,
  })
  // Who bounds what is not confirmed means what Postgres says, not what an STS remembers of it.
  const proof = !config.POLICY_CACHE || config.POLICY_CACHE_TTL < LONGEST_UNCONFIRMED_MS
  const follower = followConfiguration({ state, streams, source: source.configuration, ...identity, proof, onError })
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
  const slices = await openSlices({ config, client: sts, budgetsOf: (zone) => state.zone(zone)?.snapshot.budgets ?? [], logger, clock })
  const budgets = new ChargeClient({ client: sts, required: config.BUDGET_REQUIRED, logger, metrics, slices })
  onStop('charges', () => budgets.close(SETTLE_MS))
  const rates = callRates({ perApplication: config.APPLICATION_RATE, unprovenPerSource: config.UNPROVEN_RATE })
  const taking: Record<string, (value: string) => void | Promise<void>> = {}
  const takes: EnforcementPoint['takes'] = (setting, take) => {
    taking[setting] = take
  }
  const callers = openCallers({
    mode: authMode,
    config,
    state,
    verifier,
    refresh: follower.refresh,
    rates,
    clock,
    logger,
    metrics,
    takes,
  })
  // A nonce that this replica saw is refused without asking the store.
  const remembered = rememberUses(streams, authMode === 'mandate' ? 0 : config.REPLAY_CACHE_SIZE)
  const uses = authMode === 'mandate' ? streams : remembered
  ownFiles(
    config,
    { database: carrier ?? undefined, streams: shared.streams === undefined ? streams : undefined },
    { logger, metrics, onStop, take: taking },
  )
  revocations.measure(revocationPropagation(metrics))
  unloadable.tell = observeFreshness(metrics, { revocations: view, policyAge: () => state.confirmedAgo() })
  const measured = enforcementMetrics(metrics, {
    zones: () => state.zones().length,
    verified: verifier.cached,
    decisions: () => state.zones().reduce((sum, { decisions }) => sum + decisions.size, 0),
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
    service: role,
    version,
    checks: [
      { name: 'configuration', kind: 'dependency', check: () => state.standing() === 'current' },
      { name: 'streams', kind: 'dependency', check: () => streams.ping() },
      // A single-use mandate is claimed in the store.
      ...store.checks('safety'),
      { name: 'revocation_view', kind: 'safety', reason: 'revocation_view_stale', check: () => view.unfit() === null },
      { name: 'evidence', kind: 'safety', reason: 'evidence_unavailable', check: () => evidence.writable() },
      ...checks,
      ...(shared.checks ?? []),
    ],
    logger,
    metrics,
  })
  return {
    role,
    version,
    config,
    logger,
    clock,
    streams,
    metrics,
    measured,
    sts,
    evidence,
    refusals,
    state,
    follower,
    view,
    revocations,
    live,
    guard,
    pools,
    credentials,
    rates,
    callers,
    sourceOf: createSourceOf(config.TRUSTED_PROXIES),
    later: evidence.recordClaiming === undefined ? undefined : remembered,
    calls: {
      state,
      view,
      verifier,
      claim: uses.claim,
      release: uses.release,
      refresh: follower.refresh,
      confirm: config.POLICY_CACHE ? undefined : follower.confirm,
      admit: rates.admit,
      shed: shedding.admit,
      budgets,
      clock,
    },
    probes,
    stops,
    onStop,
    takes,
  }
}
