import type { Metrics } from '@caracal/service'

/** Every family that only the STS has. */
export function stsMetrics(
  metrics: Metrics,
  now: {
    readonly zones: () => number
    readonly lineages: () => number
    readonly verified: () => number
    readonly unloadable: () => number
  },
) {
  const gauge = (name: string, help: string, value: () => number) => {
    metrics.gauge(name, help, [], (own) => own.set(value()))
  }
  gauge('caracal_zones_loaded', 'Zones in memory.', now.zones)
  gauge('caracal_zones_unloadable', 'Zones whose active policy this replica cannot load; it refuses them.', now.unloadable)
  gauge('caracal_lineage_cache_rows', 'Sessions and delegations in memory.', now.lineages)
  gauge('caracal_verified_mandates', 'Verified mandates in memory.', now.verified)
  const providerRefreshes = metrics.counter('caracal_provider_refresh_total', 'Token requests at providers by result.', ['result'])
  for (const result of ['ok', 'failed']) providerRefreshes.inc({ result }, 0)
  return {
    exchangeSeconds: metrics.histogram('caracal_exchange_seconds', 'Time of a token request from its form to its answer.', [
      'result',
      'reason',
    ]),
    internalCalls: metrics.counter('caracal_internal_calls_total', 'Internal calls by operation and outcome.', ['operation', 'result']),
    credentialsReleased: metrics.counter('caracal_credentials_released_total', 'Upstream credentials handed to enforcement points.', [
      'kind',
    ]),
    providerRefreshSeconds: metrics.histogram('caracal_provider_refresh_seconds', 'Time of a token request at a provider.', ['result']),
    providerRefreshes,
    keyRotations: metrics.counter('caracal_key_rotations_total', 'Signing keys that became current.'),
  } as const
}

export type StsMetrics = ReturnType<typeof stsMetrics>
