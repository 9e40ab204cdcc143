import { type Database, timestamp } from '@caracal/postgres'
import type { Metrics } from '@caracal/service'
import type { Streams } from '@caracal/streams'

/** A producer with a gap that was silent this long has lost its way to us: its events may stand on a volume nobody reads. Milliseconds. */
const LOST_MS = 120_000

const BATCH_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]
const DELAY_SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300]

/** Every family that only Audit has. What the database or the streams know is asked at the scrape; unanswered it is left as it was. */
export function auditMetrics(metrics: Metrics, sources: { readonly database: Database; readonly streams: Streams }) {
  const { database, streams } = sources
  const quietly = async (ask: () => Promise<void>) => {
    try {
      await ask()
    } catch {
      // The store is away: its own checks say so.
    }
  }
  metrics.gauge('caracal_stream_lag', 'Messages of a work stream that are not acknowledged.', ['stream'], (own) =>
    quietly(async () => own.set({ stream: 'caracal.audit.events' }, (await streams.health('caracal.audit.events')).lag)),
  )
  metrics.gauge('caracal_stream_oldest_pending_seconds', 'Age of the oldest message that is not acknowledged.', ['stream'], (own) =>
    quietly(async () => own.set({ stream: 'caracal.audit.events' }, (await streams.health('caracal.audit.events')).oldestPendingSeconds)),
  )
  metrics.gauge('caracal_audit_quarantine_records', 'Messages that were set aside and wait for somebody.', [], (own) =>
    quietly(async () => own.set((await streams.health('caracal.audit.events')).quarantined)),
  )
  metrics.gauge('caracal_audit_writers_lost', 'Producers with a gap in their events that have been silent for two minutes.', [], (own) =>
    quietly(async () => {
      const row = await database.query
        .selectFrom('evidence_producers')
        .select((eb) => eb.fn.countAll<number>().as('lost'))
        .where('ahead', '<>', '{}')
        .where('last_seen', '<', timestamp(Date.now() - LOST_MS))
        .executeTakeFirstOrThrow()
      own.set(row.lost)
    }),
  )
  const ingested = metrics.counter('caracal_audit_ingested_total', 'Events that were taken from the stream, by what became of them.', [
    'outcome',
  ])
  for (const outcome of ['appended', 'duplicate', 'conflict']) ingested.inc({ outcome }, 0)
  const quarantined = metrics.counter('caracal_audit_quarantined_total', 'Events that were set aside, by reason.', ['reason'])
  for (const reason of QUARANTINE_REASONS) quarantined.inc({ reason }, 0)
  return {
    ingested,
    quarantined,
    batchSeconds: metrics.histogram('caracal_audit_ingest_seconds', 'Time from a batch in hand to its commit.', [], BATCH_SECONDS),
    delaySeconds: metrics.histogram(
      'caracal_audit_ingest_delay_seconds',
      'Age of the oldest event of a batch when the ledger had it: how far the ledger is behind.',
      [],
      DELAY_SECONDS,
    ),
    recordsLost: metrics.counter('caracal_audit_records_lost_total', 'Events that a producer reported as lost on its volume.'),
    exports: metrics.counter('caracal_audit_exports_total', 'Evidence bundles that were asked for.'),
    anchorFailures: metrics.counter('caracal_ledger_anchor_failures_total', 'Checkpoints that could not be copied to an anchor.'),
    findings: metrics.counter('caracal_ledger_findings_total', 'What self-verification found, by the check that found it.', ['kind']),
  } as const
}

/** Why a message is set aside; the word of the metric. */
export const QUARANTINE_REASONS = [
  'malformed_message',
  'too_large',
  'unknown_key',
  'not_authentic',
  'malformed_event',
  'unknown_zone',
  'conflicting_event',
] as const

/** `caracal_ledger_*`: what is verified, and how long ago. */
export function ledgerMetrics(
  metrics: Metrics,
  now: {
    readonly findings: () => number
    readonly logs: () => number
    readonly checkpointAge: () => number
    readonly headsCheckedAt: () => number | null
    readonly everythingCheckedAt: () => number | null
  },
): void {
  const gauge = (name: string, help: string, value: () => number) => {
    metrics.gauge(name, help, [], (own) => own.set(value()))
  }
  const age = (at: number | null) => (at === null ? -1 : Math.max(0, (Date.now() - at) / 1000))
  gauge('caracal_ledger_verified', '1 while self-verification finds nothing wrong in any log; 0 stays until it is repaired.', () =>
    now.findings() === 0 ? 1 : 0,
  )
  gauge('caracal_ledger_logs', 'Logs this replica knows.', now.logs)
  gauge(
    'caracal_ledger_checkpoint_age_seconds',
    'Age of the oldest entry that no checkpoint covers; 0 when all are covered.',
    now.checkpointAge,
  )
  gauge('caracal_ledger_heads_verified_age_seconds', 'Since every head was last verified; -1 before the first time.', () =>
    age(now.headsCheckedAt()),
  )
  gauge('caracal_ledger_tree_verified_age_seconds', 'Since the last pass over everything ended; -1 before the first time.', () =>
    age(now.everythingCheckedAt()),
  )
}

export type AuditMetrics = ReturnType<typeof auditMetrics>
