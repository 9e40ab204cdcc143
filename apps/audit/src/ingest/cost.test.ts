import { keyRing, newId, type ZoneId } from '@caracal/core'
import { readEntries } from '@caracal/postgres'
import { createLogger, createMetrics } from '@caracal/service'
import { evidencePayload } from '@caracal/streams'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { zoneLogs } from '../keys/zone-logs.ts'
import { auditMetrics } from '../metrics.ts'
import { event, openWorld, type World } from '../test-support/world.ts'
import { verifyTree } from '../verification/verify-tree.ts'
import { appendToZone } from './append-zone.ts'
import { ingestBatch } from './ingest.ts'
import { producers } from './producers.ts'

let world: World
beforeAll(async () => {
  world = await openWorld('server', { start: false })
})
afterAll(() => world?.close())

test('[P-102] a backlog of hours that comes at once is taken, in the order it was made, and known when it comes again', async () => {
  const { database } = world
  const zone = (await world.zone()).id
  await zoneLogs({
    database,
    settings: { kek: world.config.ZONE_KEK, issuerUrl: world.config.ISSUER_URL },
    clock: Date.now,
    logger: createLogger({ name: 'audit', level: 'error' }),
    onNew: () => {},
  }).of(zone)
  const now = Date.now()
  const arrivals = Array.from({ length: 2_500 }, (_, i) => {
    const made = event(zone, { id: newId('event', now - (2_500 - i) * 10_000) })
    return { event: made, text: JSON.stringify(made) }
  })
  const mixed = [...arrivals.slice(1_250), ...arrivals.slice(0, 1_250)]
  expect(new Set(await appendToZone(database, zone, mixed, now))).toEqual(new Set(['appended']))
  expect((await readEntries(database.query, zone, 0, 10_000)).map(({ event: text }) => text)).toEqual(arrivals.map(({ text }) => text))
  const again = arrivals.map((arrival, i) => (i === 2_021 ? { ...arrival, text: `${arrival.text} ` } : arrival))
  const outcomes = await appendToZone(database, zone, again, now)
  expect(outcomes.flatMap((outcome, i) => (outcome === 'duplicate' ? [] : [[i, outcome]]))).toEqual([[2_021, 'conflict']])
  for await (const { problems } of verifyTree(database.query, zone)) expect(problems).toEqual([])
})

test('[P-102] who is overtaken by another appender writes nothing and tries again: every event once, in one tree', async () => {
  const { database } = world
  const zone = (await world.zone()).id
  // The log is there before they race for it.
  await appendToZone(database, zone, [], Date.now())
  const batches = Array.from({ length: 12 }, () =>
    Array.from({ length: 20 }, () => {
      const made = event(zone)
      return { event: made, text: JSON.stringify(made) }
    }),
  )
  // Each comes twice, as if a consumer had died after its commit.
  const outcomes = await Promise.all([...batches, ...batches].map((batch) => appendToZone(database, zone, batch, Date.now())))
  const all = outcomes.flat()
  expect(['appended', 'duplicate', 'conflict'].map((one) => all.filter((outcome) => outcome === one).length)).toEqual([240, 240, 0])
  const stored = (await readEntries(database.query, zone, 0, 1_000)).map(({ event: text }) => text)
  expect(stored.toSorted()).toEqual(batches.flatMap((batch) => batch.map(({ text }) => text)).toSorted())
  for await (const { problems } of verifyTree(database.query, zone)) expect(problems).toEqual([])
})

test('[P-166] [P-171] a batch costs three round trips, and as many when the log is long, its producers are many and half of it came before', async () => {
  const { database, streams, config } = world
  const keys = keyRing(config.AUDIT_HMAC_KEY.current.bytes)
  const logger = createLogger({ name: 'audit', level: 'error' })
  const common = { database, clock: Date.now, logger }
  const settings = { kek: config.ZONE_KEK, issuerUrl: config.ISSUER_URL }
  const logs = zoneLogs({ ...common, settings, onNew: () => {} })
  const known = producers({ ...common, streams })
  const metrics = auditMetrics(createMetrics({ service: 'audit', version: '0', mode: 'dev' }), { database, streams })
  const ingest = { ...common, logs, producers: known, keys, metrics, onGrown: () => {} }
  const zone = (await world.zone()).id
  let sent = 0
  const group = (producer: string, texts: readonly string[]) => {
    const payload = evidencePayload(keys, { producer, first: sent + 1, events: texts })
    sent += texts.length
    return payload
  }
  const texts = (many: number, of: ZoneId) => Array.from({ length: many }, () => JSON.stringify(event(of)))
  const take = async (payloads: readonly string[]) => {
    const before = database.statements()
    const outcomes = await ingestBatch(
      ingest,
      payloads.map((payload, i) => ({ position: String(i), partition: zone, payload, deliveries: 1 })),
    )
    expect(outcomes.every((outcome) => outcome === 'done')).toBe(true)
    return database.statements() - before
  }
  // The head with what is known of the ids, everything that is added, the producers' marks.
  await take([group('a', texts(1, zone))])
  expect(await take([group('a', texts(1, zone))])).toBe(3)
  for (let n = 0; n < 30; n += 1) await take([group('a', texts(200, zone)), group('b', texts(50, zone))])
  expect(await take([group('a', texts(1, zone))])).toBe(3)
  const again = texts(100, zone)
  await take([group('a', again)])
  expect(await take(['a', 'b', 'c', 'd'].map((producer) => group(producer, texts(200, zone))))).toBe(3)
  // What seems to be there is read once, all of it together.
  expect(await take([group('a', [...again, ...texts(100, zone)])])).toBe(4)
  await known.stop()
})
