/**
 * Measures how many events a second one consumer takes into the ledger, and whether that depends on the size of the log (P-166, P-171).
 *
 *   node apps/audit/bench/ingest.ts [events] [batch] [zones]
 *
 * Starts a Postgres of its own (durable unless DURABLE=0), calls the handler of the work stream with batches made beforehand, and prints.
 */
import { randomBytes } from 'node:crypto'
import { canonicalJson, type Event, keyRing, newId, type ZoneId } from '@caracal/core'
import { startPostgres } from '@caracal/harness'
import { createZone, migrateUp, openDatabase } from '@caracal/postgres'
import { createLogger, createMetrics } from '@caracal/service'
import { evidencePayload, openStreams, type WorkMessage } from '@caracal/streams'
import { ingestBatch } from '../src/ingest/ingest.ts'
import { producers } from '../src/ingest/producers.ts'
import { zoneLogs } from '../src/keys/zone-logs.ts'
import { auditMetrics } from '../src/metrics.ts'

const [total = 50_000, batch = 1_024, zoneCount = 1] = process.argv.slice(2).map(Number)
const durable = process.env.DURABLE !== '0'
const postgres = await startPostgres({ durable, settings: { shared_buffers: '512MB', max_wal_size: '4GB' } })
const database = await openDatabase({ url: postgres.url, pool: 10 })
await migrateUp(database, { app: 'bench' })

const keys = keyRing(randomBytes(32))
const logger = createLogger({ name: 'bench', level: 'warn' })
const streams = openStreams({ driver: 'postgres', database, keys, logger })
const settings = { kek: keys, issuerUrl: 'https://sts.example.com' }
const logs = zoneLogs({ database, settings, clock: Date.now, logger, onNew: () => {} })
const known = producers({ database, streams, clock: Date.now, logger })
const metrics = auditMetrics(createMetrics({ service: 'audit', version: '0', mode: 'dev' }), { database, streams })
const ingest = { database, logs, producers: known, keys, metrics, clock: Date.now, logger, onGrown: () => {} }

const zones: ZoneId[] = []
for (let i = 0; i < zoneCount; i += 1) {
  const zone = await createZone(database.query, { id: newId('zone'), name: `zone-${i}`, labels: [] }, Date.now())
  if (zone.ok) zones.push(zone.value.id)
}

const applications = Array.from({ length: 50 }, () => newId('application'))
const sessions = Array.from({ length: 500 }, () => newId('session'))
const policySet = newId('policySetVersion')
let made = 0

/** Events as a gateway makes them: some 700 bytes. */
function message(): WorkMessage {
  const zone = zones[made % zones.length] as ZoneId
  const event: Event = {
    v: 1,
    id: newId('event'),
    zone,
    time: new Date().toISOString().replace('Z', '123Z'),
    type: made % 2 === 0 ? 'call.allowed' : 'call.finished',
    service: 'gateway',
    actor: { application: applications[made % 50] as Event['id'] & `app_${string}`, sessions: [sessions[made % 500] as `ses_${string}`] },
    resource: 'https://payments.example.com/api',
    operation: { method: 'POST', path: `/v1/payments/${made}`, template: '/v1/payments/{id}' },
    decision: 'allow',
    policy: { set_version: policySet, rules: ['small-payments'] },
    mandate: { jti: newId('mandate'), txn: newId('transaction'), expiry: 1_800_000_000 },
    request_id: newId('request'),
  }
  made += 1
  const payload = evidencePayload(keys, { producer: 'gateway-bench', first: made, events: [canonicalJson(event)] })
  return { position: String(made), partition: zone, payload, deliveries: 1 }
}

const print = (line: string) => void process.stdout.write(`${line}\n`)
const rates: number[] = []
const before = process.cpuUsage()
let spent = 0
for (let done = 0; done < total; ) {
  const size = Math.min(batch, total - done)
  const messages = Array.from({ length: size }, message)
  const began = performance.now()
  const outcomes = await ingestBatch(ingest, messages)
  spent += performance.now() - began
  rates.push((size * 1_000) / (performance.now() - began))
  if (outcomes.some((outcome) => outcome !== 'done')) throw new Error('an event was not taken')
  done += size
}
const cpu = process.cpuUsage(before)
const mean = (part: readonly number[]) => Math.round(part.reduce((sum, rate) => sum + rate, 0) / Math.max(1, part.length))
const fifth = Math.max(1, Math.floor(rates.length / 5))
const bytes = await database.query
  .selectNoFrom((eb) => [
    eb.fn<number>('pg_total_relation_size', [eb.val('log_entries')]).as('entries'),
    eb.fn<number>('pg_total_relation_size', [eb.val('log_tiles')]).as('tiles'),
  ])
  .executeTakeFirstOrThrow()
print(`${total} events, batches of ${batch}, ${zoneCount} zones, ${durable ? 'fsync on' : 'fsync off'}, node ${process.version}`)
print(
  `events/s: ${Math.round((total * 1_000) / spent)} overall, ${mean(rates.slice(0, fifth))} in the first fifth, ${mean(rates.slice(-fifth))} in the last`,
)
print(`statements per batch: ${(database.statements() / rates.length).toFixed(1)}`)
print(`bytes per event: ${Math.round(Number(bytes.entries) / total)} entries and indexes, ${Math.round(Number(bytes.tiles) / total)} tiles`)
print(`cpu of this process (with making the events): ${Math.round((cpu.user + cpu.system) / 1_000)} ms`)
await known.stop()
await streams.close()
await database.close()
await postgres.stop()
