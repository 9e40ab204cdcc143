import { measureIngest } from '../../apps/audit/bench/ingest.ts'
import { absolute, type Figure, format, relative } from '../figure.ts'

const FEW = 10_000

/** What one consumer takes into the ledger, and whether that depends on how much is there already. */
export async function ingest({ seconds, stored }: { readonly seconds: number; readonly stored: number }): Promise<Figure[]> {
  const events = seconds * 10_000
  const before = await measureIngest({ events, stored: FEW })
  const large = await measureIngest({ events, stored })
  const after = await measureIngest({ events, stored: FEW })
  // Before and after the large log, since a machine drifts.
  const rate = (before.eventsPerSecond + after.eventsPerSecond) / 2
  const cpu = ({ nodeMicros, postgresMicros }: typeof before) => ({ audit: Math.round(nodeMicros), postgres: Math.round(postgresMicros) })
  const lag = Math.max(before.checkpointLagSeconds, large.checkpointLagSeconds, after.checkpointLagSeconds)
  return [
    absolute(
      {
        name: `evidence ingest, one consumer, ${format(FEW)} events stored`,
        value: rate,
        unit: 'events/s',
        cpu: cpu(before),
        note: `batches of 1,024 in groups of 128, one zone, Postgres with fsync; ${format(before.statementsPerBatch)} statements per batch`,
      },
      { least: 10_000 },
    ),
    relative(
      {
        name: `the same at ${format(stored)} stored events`,
        value: large.eventsPerSecond,
        unit: 'events/s',
        cpu: cpu(large),
        note: `next to the mean of ${format(before.eventsPerSecond)} before and ${format(after.eventsPerSecond)} after it, at ${format(FEW)}`,
      },
      rate,
      0.8,
    ),
    absolute(
      { name: 'the same, oldest entry without a checkpoint', value: lag, unit: 's', note: 'greatest age seen in the three runs' },
      { most: 1 },
    ),
    absolute(
      {
        name: `bytes of Postgres per event at ${format(stored)} stored events`,
        value: large.bytesPerEvent,
        unit: 'bytes',
        note: 'tables, indexes and tiles of the ledger',
      },
      { most: 700 },
    ),
  ]
}
