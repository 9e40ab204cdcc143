import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock, KeyRing, UnixMillis, ZoneId } from '@caracal/core'
import { confirmMessages, type Database, inZone, isDatabaseOutage } from '@caracal/postgres'
import { infrastructureReason, type Logger } from '@caracal/service'
import { type Streams, type Subscription, verifyEvidence, type WorkMessage, type WorkOutcome } from '@caracal/streams'
import type { ZoneLogs } from '../keys/zone-logs.ts'
import type { AuditMetrics } from '../metrics.ts'
import { type Arrival, appendToZone, HeadBroken } from './append-zone.ts'
import type { Producers } from './producers.ts'
import { readEvent } from './read-event.ts'

/** The one consumer group of evidence. */
export const AUDIT_GROUP = 'audit'

/**
 * A batch shorter than this (characters) is followed by a pause, in which the next one grows: a transaction, a tree and a mark cost the
 * same for ten events as for a thousand. Milliseconds from the beginning of a batch to the next.
 */
const FULL = 512 * 1_024
const BETWEEN_MS = 100

export type Ingest = {
  readonly database: Database
  readonly logs: ZoneLogs
  readonly producers: Producers
  readonly keys: KeyRing
  readonly metrics: AuditMetrics
  readonly clock: Clock
  readonly logger: Logger
  readonly onGrown: (zone: ZoneId) => void
}

/** Who made an event, and its number there; `null` where a transaction and not a spool keeps it (outbox). */
type EvidenceOrigin = { readonly producer: string; readonly seq: number | null }

/** An authentic event of a batch, with the place of its message there. */
type Placed = Arrival & EvidenceOrigin & { readonly at: number }

/** Takes evidence from the work stream into the ledger until it is stopped; stopping finishes the batch in hand. */
export function consumeEvidence(
  ingest: Ingest,
  streams: Streams,
  options: { readonly consumer: string; readonly batch: number },
): Promise<Subscription> {
  return streams.consume('caracal.audit.events', {
    group: AUDIT_GROUP,
    consumer: options.consumer,
    batch: options.batch,
    handle: async (messages) => {
      const began = performance.now()
      const outcomes = await ingestBatch(ingest, messages)
      const small = messages.length < options.batch && messages.reduce((sum, { payload }) => sum + payload.length, 0) < FULL
      const left = BETWEEN_MS - (performance.now() - began)
      if (small && left > 0) await sleep(left)
      return outcomes
    },
    isOutage: (error) => isDatabaseOutage(error) || infrastructureReason(error) !== undefined,
  })
}

/**
 * One batch: authenticate, read, group by zone, append each zone in a transaction of its own, record what producers may forget.
 * A message is `done` only when the ledger holds all of its events. One that holds a bad event among good ones is set aside
 * whole, with the reason, and its good events are appended: when it is redriven they are found to be duplicates. A throw means
 * that a dependency is away: nothing of the batch is acknowledged, and what was committed is recognised when it comes again.
 */
export async function ingestBatch(ingest: Ingest, messages: readonly WorkMessage[]): Promise<readonly WorkOutcome[]> {
  const stop = ingest.metrics.batchSeconds.startTimer()
  const outcomes: WorkOutcome[] = messages.map(() => 'done')
  const zones = new Map<ZoneId, Placed[]>()
  const settled: EvidenceOrigin[] = []
  /** Messages without a number: the outbox keeps them until they are confirmed. */
  const fromOutbox: number[] = []
  const setAside = (at: number, reason: string, from?: EvidenceOrigin) => {
    // An event that has to come again comes with its whole message.
    if (outcomes[at] === 'done') outcomes[at] = { quarantine: reason }
    ingest.metrics.quarantined.inc({ reason: reason.split(':')[0] ?? reason })
    // It will never be in the ledger, and an authentic one is kept in the quarantine: its producer must not resend it for ever.
    if (from !== undefined) settled.push(from)
  }

  const take = (origin: EvidenceOrigin, text: string, at: number) => {
    if (text === '') {
      // The producer's own word that this record is gone from its volume: nothing will ever fill the number.
      ingest.logger.error(origin, 'a producer lost an event on its volume')
      ingest.metrics.recordsLost.inc()
      settled.push(origin)
      return
    }
    const read = readEvent(text)
    if (!read.ok) {
      setAside(at, `malformed_event: ${read.problem}`, origin)
      return
    }
    const { event } = read
    const placed = { at, ...origin, event, text }
    const others = zones.get(event.zone)
    if (others === undefined) zones.set(event.zone, [placed])
    else others.push(placed)
  }

  for (const [at, { payload }] of messages.entries()) {
    const verified = verifyEvidence(payload, ingest.keys)
    if (!verified.ok) {
      setAside(at, verified.problem)
      continue
    }
    if (verified.value.some(({ first }) => first === null)) fromOutbox.push(at)
    for (const { producer, first, events } of verified.value) {
      for (const [i, text] of events.entries()) take({ producer, seq: first === null ? null : first + i }, text, at)
    }
  }

  const appendOne = async (zone: ZoneId, arrivals: readonly Placed[]) => {
    try {
      if ((await ingest.logs.of(zone)) === undefined) {
        for (const arrival of arrivals) setAside(arrival.at, 'unknown_zone', arrival)
        return
      }
      const appended = await inZone(zone, () => appendToZone(ingest.database, zone, arrivals, ingest.clock()))
      let grown = 0
      for (const [i, outcome] of appended.entries()) {
        const arrival = arrivals[i]
        if (arrival === undefined) continue
        ingest.metrics.ingested.inc({ outcome })
        if (outcome === 'conflict') {
          ingest.logger.error({ zone, event: arrival.event.id, producer: arrival.producer }, 'an event came with the id of another one')
          setAside(arrival.at, 'conflicting_event', arrival)
          continue
        }
        if (outcome === 'appended') grown += 1
        settled.push(arrival)
      }
      if (grown > 0) {
        ingest.onGrown(zone)
        ingest.metrics.delaySeconds.observe(Math.max(0, ingest.clock() - oldestOf(arrivals)) / 1_000)
      }
    } catch (error) {
      if (isDatabaseOutage(error)) throw error
      // Only this zone waits: messages with its events are handed out again.
      for (const { at } of arrivals) outcomes[at] = 'retry'
      const broken = error instanceof HeadBroken
      ingest.logger.error({ err: error, zone, events: arrivals.length, broken }, 'events of a zone could not be appended')
    }
  }
  const results = await Promise.allSettled([...zones].map(([zone, arrivals]) => appendOne(zone, arrivals)))
  const failed = results.find((result) => result.status === 'rejected')
  if (failed !== undefined) throw failed.reason

  const seqs = new Map<string, number[]>()
  for (const { producer, seq } of settled) {
    if (seq === null) continue
    const known = seqs.get(producer)
    if (known === undefined) seqs.set(producer, [seq])
    else known.push(seq)
  }
  if (seqs.size > 0) await ingest.producers.held(seqs)
  await confirmMessages(
    ingest.database.query,
    fromOutbox.filter((at) => outcomes[at] !== 'retry').map((at) => messages[at]?.payload ?? ''),
  )
  stop()
  return outcomes
}

function oldestOf(arrivals: readonly Arrival[]): UnixMillis {
  let oldest = arrivals[0]?.event.time ?? ''
  for (const { event } of arrivals) if (event.time < oldest) oldest = event.time
  return Date.parse(oldest)
}
