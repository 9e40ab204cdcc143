import type { Metrics } from '@caracal/service'
import type { OutboxHealth } from '@caracal/streams'

/** Every family that only the Coordinator has. */
export function coordinatorMetrics(
  metrics: Metrics,
  now: {
    readonly zones: () => number
    readonly verified: () => number
    readonly revocations: () => number
    readonly fresh: () => boolean
    readonly outbox: () => Promise<OutboxHealth>
  },
) {
  const gauge = (name: string, help: string, value: () => number) => {
    metrics.gauge(name, help, [], (own) => own.set(value()))
  }
  gauge('caracal_zones_loaded', 'Zones in memory.', now.zones)
  gauge('caracal_verified_mandates', 'Verified mandates in memory.', now.verified)
  gauge('caracal_revocation_view_entries', 'Revoked ids in the view of this replica.', now.revocations)
  gauge('caracal_revocation_view_fresh', '1 when the view can vouch for what is not revoked.', () => (now.fresh() ? 1 : 0))
  metrics.gauge('caracal_outbox_messages', 'Messages that wait to be published, and those that never can be.', ['state'], async (own) => {
    const health = await now.outbox().catch(() => null)
    if (health === null) return
    own.set({ state: 'pending' }, health.pending)
    own.set({ state: 'dead' }, health.dead)
  })
  metrics.gauge('caracal_outbox_oldest_seconds', 'How long the oldest message has waited.', [], async (own) => {
    const health = await now.outbox().catch(() => null)
    if (health !== null) own.set(health.oldestSeconds)
  })
  return {
    swept: metrics.counter('caracal_sessions_swept_total', 'Sessions marked ended because their time or lease was over.'),
  } as const
}
