import type { Clock, Event, KeyRing } from '@caracal/core'
import { eventClock, type MadeEvent, makeEvent } from '../evidence/canonical-event.ts'
import { evidencePayload, MAX_GROUP_BYTES, MAX_GROUP_EVENTS } from '../evidence/evidence-payload.ts'
import type { SpoolEvidenceWriter } from '../evidence/spool-evidence-writer.ts'
import type { EventDraft } from '../evidence-writer.ts'
import type { StreamLogger } from '../stream-logger.ts'
import type { Streams } from '../streams.ts'
import type { Claim } from '../wanted-claim.ts'
import { CommitQueue } from './commit-queue.ts'

export type WriteThroughOptions = {
  readonly service: Event['service']
  /** The ring of `AUDIT_HMAC_KEY`. */
  readonly keys: KeyRing
  /** On Postgres. Stays open when the writer is closed; close the writer first. */
  readonly streams: Streams
  readonly logger: StreamLogger
  readonly clock?: Clock
  /** How long an effect waits for its commit, 5 s unless said otherwise. Milliseconds. */
  readonly patienceMs?: number
  /** What nobody waits for is kept up to this length while Postgres is away, 16 MiB unless said otherwise. */
  readonly maxKept?: number
}

const STREAM = 'caracal.audit.events'

/**
 * Evidence straight into the work stream that Postgres carries: durable with the grouped commit of its rows, before the effect, and
 * nothing stands on this machine. The events have no numbers of their producer, since the table cannot lose one.
 * @throws TypeError for streams that are not on Postgres: there an acknowledgement is no commit.
 */
export function openWriteThrough(options: WriteThroughOptions): SpoolEvidenceWriter {
  const { service, keys, streams, logger, clock = Date.now, patienceMs = 5_000, maxKept = 16 * 1024 * 1024 } = options
  const { appendClaiming } = streams
  if (appendClaiming === undefined) throw new TypeError('evidence is written through to Postgres only')
  let made = 0
  const queue = new CommitQueue({
    logger,
    patienceMs,
    maxKept,
    commit: async (texts, claims) => {
      const messages = groupsOf(texts).map((events) => ({
        partition: service,
        payload: evidencePayload(keys, { producer: service, first: null, events }),
      }))
      const lost = await appendClaiming(STREAM, messages, claims)
      if (lost.size === 0) made += texts.length
      return lost
    },
  })
  const moment = eventClock(clock)
  const record = (draft: EventDraft, when: 'now' | 'soon', claim: Claim | null): Promise<string> => {
    const { now, time } = moment()
    let event: MadeEvent
    try {
      event = makeEvent(draft, service, time, now)
    } catch (error) {
      return Promise.reject(error)
    }
    return queue.add(event.text, when, claim).then(() => event.id)
  }
  return {
    producer: service,
    record: (draft, when = 'now') => record(draft, when, null),
    recordClaiming: (draft, claim) => record(draft, 'now', claim),
    writable: () => queue.writable(),
    health: () => ({
      made,
      records: queue.waiting,
      unsent: queue.waiting,
      oldestSeconds: queue.oldestSeconds,
      usedRatio: queue.usedRatio,
      writeErrors: queue.errors,
      commits: queue.commits,
    }),
    close: (ms) => queue.close(ms),
  }
}

/** In order, each within what a group may hold. */
function groupsOf(texts: readonly string[]): readonly (readonly string[])[] {
  const groups: string[][] = []
  let bytes = 0
  for (const text of texts) {
    const size = Buffer.byteLength(text) + 1
    const last = groups.at(-1)
    if (last === undefined || last.length === MAX_GROUP_EVENTS || bytes + size > MAX_GROUP_BYTES) {
      groups.push([text])
      bytes = size
    } else {
      last.push(text)
      bytes += size
    }
  }
  return groups
}
