import type { Server } from 'node:net'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'

/** One registry per service, because several services live in one process. */
export type Metrics = {
  readonly registry: Registry
  /** `name` ends in `_total`. Without labels it starts at 0. `total` gives the count when somebody scrapes. */
  counter<L extends string = never>(name: string, help: string, labels?: readonly L[], total?: () => number): Counter<L>
  /** `collect` sets the value when somebody scrapes. */
  gauge<L extends string = never>(
    name: string,
    help: string,
    labels?: readonly L[],
    collect?: (gauge: Gauge<L>) => void | Promise<void>,
  ): Gauge<L>
  /** `name` ends in its unit: `_seconds` or `_bytes`. */
  histogram<L extends string = never>(name: string, help: string, labels?: readonly L[], buckets?: readonly number[]): Histogram<L>
  /** `caracal_http_request_seconds{route,method,code}`. */
  readonly httpRequestSeconds: Histogram<'route' | 'method' | 'code'>
  /** Says aloud that a setting is not safe: `caracal_insecure_setting{name}` becomes 1. */
  insecureSetting(name: string): void
  /** Prometheus text, and its content type. */
  text(): Promise<{ readonly body: string; readonly contentType: string }>
  close(): void
}

/** Half a millisecond to a minute: both a mint and an upstream call fit. */
const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

const RESOLUTION_MS = 10

/** The families every role has (5-deploy, Monitoring). Names and suffixes are checked as they are declared (P-141). */
export function createMetrics(options: { readonly service: string; readonly version: string; readonly mode: string }): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const loop = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  loop.enable()

  const counter: Metrics['counter'] = (name, help, labels = [], total = undefined) => {
    demand(name, /_total$/)
    return new Counter({
      name,
      help,
      labelNames: [...labels],
      registers,
      ...(total === undefined
        ? {}
        : {
            collect() {
              this.reset()
              this.inc(total())
            },
          }),
    })
  }
  const gauge: Metrics['gauge'] = (name, help, labels = [], collect = undefined) => {
    demand(name, /(?<!_total)$/)
    return new Gauge({
      name,
      help,
      labelNames: [...labels],
      registers,
      ...(collect === undefined
        ? {}
        : {
            collect() {
              return collect(this)
            },
          }),
    })
  }
  const histogram: Metrics['histogram'] = (name, help, labels = [], buckets = SECONDS) => {
    demand(name, /_(?:seconds|bytes)$/)
    return new Histogram({ name, help, labelNames: [...labels], buckets: [...buckets], registers })
  }

  gauge('caracal_build_info', 'Always 1; the labels say what runs.', ['role', 'version', 'mode']).set(
    { role: options.service, version: options.version, mode: options.mode },
    1,
  )
  gauge('caracal_event_loop_p99_seconds', '99th percentile of event loop delay since the last scrape.', [], (own) => {
    own.set(Math.max(0, loop.percentile(99) / 1e9 - RESOLUTION_MS / 1e3))
    loop.reset()
  })
  const insecure = gauge('caracal_insecure_setting', '1 for every setting that lowers the protection of this replica.', ['name'])

  return {
    registry,
    counter,
    gauge,
    histogram,
    httpRequestSeconds: histogram('caracal_http_request_seconds', 'Time from request to end of response.', ['route', 'method', 'code']),
    insecureSetting: (name) => insecure.set({ name }, 1),
    async text() {
      return { body: await registry.metrics(), contentType: registry.contentType }
    },
    close() {
      loop.disable()
      registry.clear()
    },
  }
}

/**
 * The series of a histogram by its label values, each looked up once: finding a series by its labels costs more than counting in
 * it. Only for labels whose values the code bounds.
 */
export function labelled<L extends string>(histogram: Histogram<L>): (...values: readonly string[]) => Histogram.Internal<L> {
  const known = new Map<string, Histogram.Internal<L>>()
  return (...values) => {
    const key = values.join(' ')
    const before = known.get(key)
    if (before !== undefined) return before
    const series = histogram.labels(...values)
    known.set(key, series)
    return series
  }
}

/** `caracal_open_connections` of a listener, or of several together. */
export function observeConnections(metrics: Metrics, ...servers: readonly Pick<Server, 'getConnections'>[]): void {
  metrics.gauge('caracal_open_connections', 'Client connections that are open.', [], async (own) => {
    const count = (server: (typeof servers)[number]) =>
      new Promise<number>((resolve) => server.getConnections((_error, found) => resolve(found ?? 0)))
    own.set((await Promise.all(servers.map(count))).reduce((sum, one) => sum + one, 0))
  })
}

function demand(name: string, suffix: RegExp): void {
  if (!/^caracal_[a-z][a-z0-9_]*$/.test(name) || !suffix.test(name)) throw new TypeError(`not a name for this kind of metric: ${name}`)
}
