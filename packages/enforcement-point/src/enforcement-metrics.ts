import type { Metrics } from '@caracal/service'

/** The families that every enforcement point has, under the names of the first one. */
export function enforcementMetrics(
  metrics: Metrics,
  now: {
    readonly zones: () => number
    readonly verified: () => number
    readonly decisions: () => number
    readonly live: () => number
    readonly upstreams: () => number
    readonly credentials: () => number
    readonly rateBuckets: { readonly sources: () => number; readonly applications: () => number }
  },
) {
  const gauge = (name: string, help: string, value: () => number) => {
    metrics.gauge(name, help, [], (own) => own.set(value()))
  }
  gauge('caracal_zones_loaded', 'Zones in memory.', now.zones)
  gauge('caracal_verified_mandates', 'Verified mandates in memory.', now.verified)
  gauge('caracal_decisions_remembered', 'Decisions in memory, which POLICY_CACHE_SIZE bounds for each zone.', now.decisions)
  gauge('caracal_gateway_live_calls', 'Forwarded calls in flight.', now.live)
  gauge('caracal_gateway_upstreams', 'Upstreams with a connection pool.', now.upstreams)
  gauge('caracal_gateway_credentials', 'Upstream credentials in memory.', now.credentials)
  metrics.gauge('caracal_gateway_rate_buckets', 'Sources and applications whose calls are counted for a limit.', ['kind'], (own) => {
    own.set({ kind: 'source' }, now.rateBuckets.sources())
    own.set({ kind: 'application' }, now.rateBuckets.applications())
  })
  const requests = metrics.counter('caracal_gateway_requests_total', 'Calls by how they were decided and why.', ['outcome', 'reason'])
  return {
    requests,
    /** The series of what most calls are. */
    allowed: requests.labels('allow', ''),
    overheadSeconds: metrics.histogram(
      'caracal_gateway_overhead_seconds',
      'Time from the request to its forwarding: verification, decision, evidence.',
      [],
      [0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1],
    ),
  } as const
}

export type EnforcementMetrics = ReturnType<typeof enforcementMetrics>
