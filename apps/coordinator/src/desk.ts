import type { Clock, ZoneId } from '@caracal/core'
import type { ReplicaState, RevocationView } from '@caracal/enforcement'
import type { Database, OutboxMessage } from '@caracal/postgres'
import type { Cursors } from '@caracal/service'
import type { EventDraft, Streams } from '@caracal/streams'
import type { SessionLimits } from './sessions/limits.ts'

/** What the routes work with. */
export type CoordinatorDesk = {
  readonly database: Database
  readonly streams: Pick<Streams, 'driver' | 'publish'>
  readonly cursors: Cursors
  readonly clock: Clock
  /** Applications, resources and policy of every zone. */
  readonly state: ReplicaState
  readonly view: RevocationView
  /** Reads a zone anew because something in it is not known yet; rate-limited and quiet. Never within a transaction. */
  readonly refresh: (zone: ZoneId) => Promise<void>
  /** An event as the outbox message that takes it to the ledger: written in the transaction of what it records. */
  readonly evidence: (draft: EventDraft) => OutboxMessage
  readonly limits: SessionLimits
}
