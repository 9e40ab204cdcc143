import type { Clock, ConfirmedMessage, Event, KeyRing } from '@caracal/core'
import type { EvidenceWriter } from '../evidence-writer.ts'
import { openSpool, type SpoolHealth, type SpoolOptions } from '../spool/open-spool.ts'
import type { StreamLogger } from '../stream-logger.ts'
import type { Streams } from '../streams.ts'
import { eventClock, type MadeEvent, makeEvent } from './canonical-event.ts'
import { evidencePayload, verifyEvidence } from './evidence-payload.ts'

export type EvidenceWriterOptions = {
  /** Of this service alone, on the replay volume. */
  readonly dir: string
  readonly service: Event['service']
  /** The ring of `AUDIT_HMAC_KEY`. */
  readonly keys: KeyRing
  /** Stays open when the writer is closed; close the writer first. */
  readonly streams: Streams
  /** `async` (dev only) does not wait for the volume: what was recorded a moment before a crash is lost. */
  readonly mode: 'write-ahead' | 'async'
  readonly logger: StreamLogger
  readonly clock?: Clock
} & Pick<SpoolOptions, 'maxBytes' | 'segmentBytes' | 'resendMs'>

export type SpoolEvidenceWriter = EvidenceWriter & { readonly producer: string; health(): SpoolHealth }

/** Evidence through a spool on the volume: durable before the effect, sent while running, kept until the ledger confirms it (P-094). */
export async function openEvidenceWriter(options: EvidenceWriterOptions): Promise<SpoolEvidenceWriter> {
  const { dir, service, keys, streams, mode, logger, clock = Date.now } = options
  const spool = await openSpool({
    dir,
    role: service,
    streams,
    logger,
    seal: (group) => evidencePayload(keys, group),
    open: (payload) => verifyEvidence(payload, keys),
    ...(options.maxBytes === undefined ? {} : { maxBytes: options.maxBytes }),
    ...(options.segmentBytes === undefined ? {} : { segmentBytes: options.segmentBytes }),
    ...(options.resendMs === undefined ? {} : { resendMs: options.resendMs }),
  })
  const moment = eventClock(clock)
  const confirmations = await streams.subscribe('caracal.evidence', '', {
    onMessage: ({ payload }) => {
      const message = JSON.parse(payload) as ConfirmedMessage
      if (message.producer === spool.producer) spool.confirm(message.seq)
    },
    onGap: () => {}, // marks only grow: the next one says all that was missed
  })

  return {
    producer: spool.producer,
    record: (draft, when) => {
      const { now, time } = moment()
      let made: MadeEvent
      try {
        made = makeEvent(draft, service, time, now)
      } catch (error) {
        return Promise.reject(error)
      }
      const { id, text } = made
      const durable = spool.append(text, when)
      if (mode === 'write-ahead') return durable.then(() => id)
      durable.catch((error) => logger.error({ err: error, id }, 'evidence is lost: it could not be made durable'))
      return Promise.resolve(id)
    },
    writable: () => spool.writable(),
    health: () => spool.health(),
    close: async (ms) => {
      const left = await spool.close(ms)
      await confirmations.stop()
      return left
    },
  }
}
