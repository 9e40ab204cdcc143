import type { Metrics } from '@caracal/service'

/** Every family that only the Coordinator has. */
export function coordinatorMetrics(
  metrics: Metrics,
  now: {
    readonly zones: () => number
    readonly verified: () => number
  },
) {
  const gauge = (name: string, help: string, value: () => number) => {
    metrics.gauge(name, help, [], (own) => own.set(value()))
  }
  gauge('caracal_zones_loaded', 'Zones in memory.', now.zones)
  gauge('caracal_verified_mandates', 'Verified mandates in memory.', now.verified)
  return {
    swept: metrics.counter('caracal_sessions_swept_total', 'Sessions marked ended because their time or lease was over.'),
  } as const
}
