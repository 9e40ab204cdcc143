import type { SpoolHealth } from '@caracal/streams'
import type { Metrics } from './metrics.ts'

/** `caracal_spool_*` and `caracal_evidence_writable` of an open spool. */
export function observeSpool(metrics: Metrics, evidence: { health(): SpoolHealth; writable(): boolean }): void {
  const gauge = (name: string, help: string, value: (health: SpoolHealth) => number) => {
    metrics.gauge(name, help, [], (own) => own.set(value(evidence.health())))
  }
  gauge('caracal_evidence_writable', '1 when evidence can be made durable.', () => (evidence.writable() ? 1 : 0))
  gauge('caracal_spool_records', 'Events that the ledger has not confirmed.', ({ records }) => records)
  gauge('caracal_spool_unsent_records', 'Events that are not in the work stream yet.', ({ unsent }) => unsent)
  gauge('caracal_spool_oldest_seconds', 'Age of the oldest event that is not in the work stream.', ({ oldestSeconds }) => oldestSeconds)
  gauge('caracal_spool_used_ratio', 'Part of the space of the spool that is in use.', ({ usedRatio }) => usedRatio)
  metrics.counter('caracal_spool_write_errors_total', 'Failed writes of the spool.', [], () => evidence.health().writeErrors)
}
