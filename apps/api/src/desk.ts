import type { Clock } from '@caracal/core'
import type { Database, OutboxMessage } from '@caracal/postgres'
import type { Cursors } from '@caracal/service'
import type { EventDraft, Streams } from '@caracal/streams'
import type { Sealing } from './sealing.ts'

/** What the routes work with. */
export type ApiDesk = {
  readonly database: Database
  readonly streams: Pick<Streams, 'driver' | 'publish'>
  readonly sealing: Sealing
  readonly cursors: Cursors
  /** An event as the outbox message that takes it to the ledger: written in the transaction of what it records. */
  readonly evidence: (draft: EventDraft) => OutboxMessage
  readonly now: Clock
}
