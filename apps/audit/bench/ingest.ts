/**
 * Measures how many events a second one consumer takes into the ledger, what each costs, and whether that depends on the size of the
 * log (P-166, P-171).
 *
 *   node apps/audit/bench/ingest.ts [events] [stored before] [batch] [zones]
 *
 * Starts a Postgres of its own, durable unless DURABLE=0, and calls the handler of the work stream with batches made beforehand.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { canonicalJson, type Event, keyRing, newId, type ZoneId } from '@caracal/core'
import { type PostgresServer, startPostgres } from '@caracal/harness'
import { createZone, type Database, migrateUp, openDatabase } from '@caracal/postgres'
import { createLogger, createMetrics } from '@caracal/service'
import { evidencePayload, openStreams, type WorkMessage } from '@caracal/streams'
import { sql } from 'kysely'
import { type ProcessorTime, processorTime } from '../../../bench/processor-time.ts'
import { checkpointer } from '../src/checkpoint/checkpointer.ts'
import { appendToZone } from '../src/ingest/append-zone.ts'
import { ingestBatch } from '../src/ingest/ingest.ts'
import { producers } from '../src/ingest/producers.ts'
import { zoneLogs } from '../src/keys/zone-logs.ts'
import { auditMetrics } from '../src/metrics.ts'
import { collectFindings } from '../src/verification/findings.ts'
import { sampleCycle } from './sample-evidence.ts'

export type IngestFigures = {
  readonly eventsPerSecond: number
  /** Processor time of this process while a batch was in hand, and of all processes of Postgres; microseconds per event. */
  readonly nodeMicros: number
  readonly postgresMicros: number
  /** Tables and indexes of the ledger, tiles of the tree among them, by all events stored. */
  readonly bytesPerEvent: number
  /** Greatest age of an entry that no checkpoint covered. */
  readonly checkpointLagSeconds: number
  readonly statementsPerBatch: number
}

/** Events of one message, as a spool sends them. */
const GROUP = 128
/** Events stored at once while filling. */
const FILLED = 8_192

/** Fills logs with `stored` events, then takes `events` more in batches of `batch` and measures that. */
export async function measureIngest(options: {
  readonly events: number
  readonly stored?: number
  readonly batch?: number
  readonly zones?: number
  readonly durable?: boolean
}): Promise<IngestFigures> {
  const { events, stored = 0, batch = 1_024, zones: zoneCount = 1, durable = true } = options
  const postgres = await startPostgres({ durable, settings: { shared_buffers: '512MB', max_wal_size: '4GB' } })
  const database = await openDatabase({ url: postgres.url, pool: 10 })
  try {
    await migrateUp(database, { app: 'bench' })
    return await measure(postgres, database, { events, stored, batch, zoneCount })
  } finally {
    await database.close()
    await postgres.stop()
  }
}

async function measure(
  postgres: PostgresServer,
  database: Database,
  { events, stored, batch, zoneCount }: { events: number; stored: number; batch: number; zoneCount: number },
): Promise<IngestFigures> {
  const keys = keyRing(randomBytes(32))
  const logger = createLogger({ name: 'bench', level: 'warn' })
  const streams = openStreams({ driver: 'postgres', database, keys, logger })
  const settings = { kek: keys, issuerUrl: 'https://sts.example.com' }
  const logs = zoneLogs({ database, settings, clock: Date.now, logger, onNew: () => {} })
  const known = producers({ database, streams, clock: Date.now, logger })
  const metrics = auditMetrics(createMetrics({ service: 'audit', version: '0', mode: 'dev' }), { database, streams })
  const findings = collectFindings({ onNew: (finding) => logger.error(finding, 'found'), onGone: () => {} })
  const common = { database, logs, clock: Date.now, logger }
  const checkpoints = checkpointer({ ...common, settings, anchors: [], findings, onAnchorFailure: () => {} })
  const ingest = { ...common, producers: known, keys, metrics, onGrown: checkpoints.grown }
  const zones: ZoneId[] = []
  for (let i = 0; i < zoneCount; i += 1) {
    const zone = await createZone(database.query, { id: newId('zone'), name: `zone-${i}`, labels: [] }, Date.now())
    if (zone.ok) zones.push(zone.value.id)
  }
  try {
    await fill(database, ingest.logs, zones, stored)
    await checkpoints.sweep()
    let seq = 1
    const take = async (many: number) => {
      const messages: WorkMessage[] = []
      let left = many
      for (let n = 0; left > 0; n += 1) {
        const group: Event[] = []
        const zone = zones[n % zones.length] as ZoneId
        while (group.length < Math.min(GROUP, left))
          group.push(...sampleCycle(zone, Date.now()).slice(0, Math.min(GROUP, left) - group.length))
        left -= group.length
        const payload = evidencePayload(keys, { producer: 'gateway-bench', first: seq, events: group.map((event) => canonicalJson(event)) })
        seq += group.length
        messages.push({ position: String(seq), partition: zone, payload, deliveries: 1 })
      }
      const cpu = process.cpuUsage()
      const began = performance.now()
      const outcomes = await ingestBatch(ingest, messages)
      const spent = process.cpuUsage(cpu)
      if (outcomes.some((outcome) => outcome !== 'done')) throw new Error('an event was not taken')
      return { ms: performance.now() - began, micros: spent.user + spent.system }
    }
    for (let warm = 0; warm < 20; warm += 1) await take(batch)
    const before = { postgres: postgresTime(postgres), statements: database.statements() }
    let lag = 0
    const watch = setInterval(() => {
      lag = Math.max(lag, checkpoints.age())
    }, 50)
    let ms = 0
    let micros = 0
    const batches = Math.ceil(events / batch)
    for (let n = 0; n < batches; n += 1) {
      const took = await take(batch)
      ms += took.ms
      micros += took.micros
    }
    clearInterval(watch)
    const taken = batches * batch
    return {
      eventsPerSecond: Math.round((taken * 1_000) / ms),
      nodeMicros: micros / taken,
      postgresMicros: ((postgresTime(postgres).postgres ?? 0) - (before.postgres.postgres ?? 0)) / taken,
      bytesPerEvent: (await ledgerBytes(database)) / (stored + (batches + 20) * batch),
      checkpointLagSeconds: lag,
      statementsPerBatch: (database.statements() - before.statements) / batches,
    }
  } finally {
    await checkpoints.stop()
    await known.stop()
    await streams.close()
  }
}

/** As if the logs had grown at 10,000 events a second until now. */
async function fill(database: Database, logs: ReturnType<typeof zoneLogs>, zones: readonly ZoneId[], stored: number): Promise<void> {
  let now = Date.now() - stored / 10
  for (let done = 0, n = 0; done < stored; n += 1) {
    const zone = zones[n % zones.length] as ZoneId
    await logs.of(zone)
    const some: Event[] = []
    for (; some.length < Math.min(FILLED, stored - done); now += 0.3) some.push(...sampleCycle(zone, Math.floor(now)))
    const arrivals = some.slice(0, stored - done).map((event) => ({ event, text: canonicalJson(event) }))
    await appendToZone(database, zone, arrivals, Date.now())
    done += arrivals.length
  }
  if (stored > 0) await sql`vacuum analyze log_blocks`.execute(database.query)
}

function postgresTime({ dataDir }: PostgresServer): ProcessorTime {
  const pid = Number(readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n')[0])
  return processorTime([{ name: 'postgres', pid, withChildren: true }])
}

async function ledgerBytes(database: Database): Promise<number> {
  const { rows } = await sql<{ bytes: number }>`
    select sum(pg_total_relation_size(name::regclass))::bigint as bytes
    from unnest(array['log_heads', 'log_blocks', 'log_tiles', 'log_checkpoints']) as name`.execute(database.query)
  return rows[0]?.bytes ?? 0
}

if (import.meta.main) {
  const [events = 100_000, stored = 0, batch = 1_024, zones = 1] = process.argv.slice(2).map(Number)
  const figures = await measureIngest({ events, stored, batch, zones, durable: process.env.DURABLE !== '0' })
  process.stdout.write(`${JSON.stringify({ events, stored, batch, zones, node: process.version, ...figures }, null, 2)}\n`)
}
