import type { WorkStream } from '@caracal/core'
import { type Database, oldestUnconfirmed, takeUnconfirmed } from '@caracal/postgres'
import type { StreamLogger } from './stream-logger.ts'
import type { Streams } from './streams.ts'

const STREAM: WorkStream = 'caracal.audit.events'
const AT_ONCE = 500
/** For the clocks of two stores, seconds. */
const SLACK = 2

/**
 * Sends again what left the outbox and was neither confirmed nor is on its way any more: the stream store lost it after it had
 * taken it (P-099). As long as the stream holds something that is as old, nothing was lost and the ledger is only slow.
 */
export async function resendUnconfirmed(options: {
  readonly database: Database
  readonly streams: Pick<Streams, 'append' | 'health'>
  readonly logger: StreamLogger
  readonly producer: string
  readonly resendMs: number
}): Promise<void> {
  const { database, streams, logger, producer } = options
  const patience = options.resendMs / 1_000
  const oldest = await oldestUnconfirmed(database.query, STREAM)
  if (oldest < patience) return
  try {
    const { oldestPendingSeconds } = await streams.health(STREAM)
    if (oldestPendingSeconds > 0 && oldestPendingSeconds + SLACK >= oldest) return
    for (;;) {
      const lost = await takeUnconfirmed(database.query, STREAM, patience, AT_ONCE)
      if (lost.length === 0) return
      logger.warn({ producer, messages: lost.length }, 'evidence of the outbox was lost on its way to the ledger; it is sent again')
      await streams.append(STREAM, lost)
    }
  } catch (error) {
    // They are missed again after the same time.
    logger.warn({ err: error, producer }, 'what the ledger has not confirmed could not be sent again')
  }
}
