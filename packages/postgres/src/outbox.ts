import type { StreamName } from '@caracal/core'
import type { Queryable } from './database.ts'
import { outboxWritten } from './outbox-signal.ts'

export type OutboxMessage = {
  readonly stream: StreamName
  /** Messages of one aggregate are published in the order they were written. */
  readonly aggregate: string
  readonly payload: string
}

/** A statement takes 65,535 parameters. */
const MOST_AT_ONCE = 10_000

/** Writes messages that are published after, and only if, the transaction commits. Dispatchers of this process are told then. */
export async function enqueue(tx: Queryable, messages: OutboxMessage | readonly OutboxMessage[]): Promise<void> {
  const rows = [messages].flat().map(({ stream, aggregate, payload }: OutboxMessage) => ({ stream, aggregate, payload }))
  for (let at = 0; at < rows.length; at += MOST_AT_ONCE) {
    await tx
      .insertInto('outbox')
      .values(rows.slice(at, at + MOST_AT_ONCE))
      .execute()
  }
  if (rows.length > 0) outboxWritten(tx)
}
