import type { Reason, ZoneId } from '@caracal/core'
import type { Authenticator } from './authenticator.ts'
import { createApp } from './create-app.ts'
import { gracefulStop, type StopHook, type StopReport } from './graceful-stop.ts'
import type { IdempotencyStore } from './idempotency.ts'
import type { InternalVerifier } from './internal-call/verifier.ts'
import type { Logger } from './logger.ts'
import type { Metrics } from './metrics.ts'
import { type Address, addressOf, type MetricsListener, startMetricsListener } from './metrics-listener.ts'
import { type Check, createProbes, type Probes } from './probes.ts'
import type { RateClass } from './rate-limit.ts'
import type { RouteRow } from './route.ts'
import type { VersionInfo } from './service-routes.ts'

/** What a client may take of a listener (P-067). */
export type ConnectionLimits = {
  /** Open connections at most; 10 000. Further ones are dropped before they cost anything. */
  readonly maxConnections?: number
  /** Until the headers are complete. Milliseconds; 5 000. */
  readonly headersTimeoutMs?: number
  /** Until the whole request is there. Milliseconds; 30 000. */
  readonly requestTimeoutMs?: number
}

export type ServiceOptions = {
  readonly name: string
  readonly version: VersionInfo
  readonly host: string
  /** 0 = any free one. */
  readonly port: number
  /** Null: no metrics listener. */
  readonly metricsPort: number | null
  /** Asked at each scrape; empty = no bearer is demanded. */
  readonly metricsBearer?: () => readonly string[]
  readonly routes: readonly RouteRow[]
  readonly authenticator?: Authenticator
  /** For rows of `internal(…)`. */
  readonly internal?: InternalVerifier
  readonly idempotency?: IdempotencyStore
  readonly rates?: Readonly<Record<string, RateClass>>
  readonly checks: readonly Check[]
  readonly metrics: Metrics
  readonly logger: Logger
  /** Run in reverse order after the last call was answered. */
  readonly onStop?: readonly StopHook[]
  /** Calls are still accepted for so long after `/ready` turned. Milliseconds. */
  readonly drainDelayMs?: number
  /** What `:zone` may be beside an id; null = no such zone. */
  readonly resolveZone?: (text: string) => ZoneId | null | Promise<ZoneId | null>
  /** Addresses or CIDRs of proxies whose X-Forwarded-For counts. */
  readonly trustedProxies?: readonly string[]
  /** What a thrown error of the app's own infrastructure is, when it is not known here. */
  readonly reasonOf?: (error: unknown) => Reason | undefined
  readonly checkReplies?: boolean
  readonly limits?: ConnectionLimits
  /** Content-Security-Policy etc. for paths that serve pages; everything else gets headers for an API. */
  readonly pages?: readonly { readonly prefix: string; readonly headers: Readonly<Record<string, string>> }[]
}

export type RunningService = {
  readonly name: string
  readonly address: Address
  readonly metricsAddress: Address | null
  readonly probes: Probes
  /** Every row, so that tests can enumerate them. */
  routes(): readonly RouteRow[]
  /** Idempotent; resolves within 15 s after the drain delay. */
  stop(): Promise<StopReport>
}

/**
 * Starts a service: main listener with its rows and probes, metrics listener, background checks. Rejects when a port is taken
 * or a row is not well-formed; then nothing is left open.
 */
export async function startService(options: ServiceOptions): Promise<RunningService> {
  const probes = createProbes({
    service: options.name,
    version: options.version.version,
    checks: options.checks,
    logger: options.logger,
    metrics: options.metrics,
  })
  options.metrics.counter('caracal_log_dropped_total', 'Log lines that could not be written.', [], options.logger.dropped)
  const draining = new AbortController()
  const app = await createApp(options, probes, draining.signal)
  let metricsListener: MetricsListener | undefined
  try {
    if (options.metricsPort !== null) {
      metricsListener = await startMetricsListener({
        service: options.name,
        host: options.host,
        port: options.metricsPort,
        bearer: options.metricsBearer ?? (() => []),
        metrics: options.metrics,
        probes,
        logger: options.logger,
      })
    }
    await probes.refresh()
    await app.listen({ host: options.host, port: options.port })
  } catch (error) {
    probes.close()
    await metricsListener?.close()
    await app.close()
    throw error
  }
  probes.started()
  const address = addressOf(app.server, options.host)
  options.logger.info({ address: address.url, metrics: metricsListener?.address.url }, 'listening')

  let stopping: Promise<StopReport> | undefined
  return {
    name: options.name,
    address,
    metricsAddress: metricsListener?.address ?? null,
    probes,
    routes: () => options.routes,
    stop() {
      stopping ??= gracefulStop({
        logger: options.logger,
        unready: probes.drain,
        drainDelayMs: options.drainDelayMs ?? 0,
        servers: [app.server],
        onClosing: () => draining.abort(),
        hooks: options.onStop ?? [],
        async last() {
          probes.close()
          await app.close()
          await metricsListener?.close()
          options.metrics.close()
        },
      })
      return stopping
    },
  }
}
