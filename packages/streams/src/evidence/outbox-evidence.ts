import type { Clock, Event, KeyRing } from '@caracal/core'
import type { OutboxMessage } from '@caracal/postgres'
import type { EventDraft } from '../evidence-writer.ts'
import { eventClock, makeEvent } from './canonical-event.ts'
import { evidencePayload } from './evidence-payload.ts'

/**
 * Evidence of services that change the database: `enqueue` it in the transaction of the change, and both are committed or
 * neither (P-116). The same bytes and the same MAC as a spool makes; the number is `null`, since the table cannot lose one.
 * `keys` is the ring of `AUDIT_HMAC_KEY`.
 */
export function outboxEvidence(options: {
  readonly service: Event['service']
  readonly keys: KeyRing
  readonly clock?: Clock
}): (draft: EventDraft) => OutboxMessage {
  const { service, keys, clock = Date.now } = options
  const moment = eventClock(clock)
  return (draft) => {
    const { now, time } = moment()
    const { zone, text } = makeEvent(draft, service, time, now)
    return {
      stream: 'caracal.audit.events',
      aggregate: zone,
      payload: evidencePayload(keys, { producer: service, first: null, events: [text] }),
    }
  }
}
