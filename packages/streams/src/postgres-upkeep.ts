import type { Database } from '@caracal/postgres'
import { sql } from 'kysely'
import { pause } from './pause.ts'
import type { StreamLogger } from './stream-logger.ts'

/** Messages are kept for longer than any mandate lives. */
const KEEP = '30 minutes'
const EVERY_MS = 60_000
/** Rows that go leave space that only VACUUM gives back; an embedded Postgres has nobody who does it by itself. */
const VACUUM_EVERY = 5

/** Removes broadcast messages by age and claims that have run out. Never by number: a revocation is not pushed out by others (P-115). */
export async function removeOutdated(database: Database): Promise<void> {
  await sql`DELETE FROM stream_broadcasts WHERE created_at < now() - ${KEEP}::interval`.execute(database.query)
  await sql`DELETE FROM stream_claims WHERE expires_at < now()`.execute(database.query)
}

/** Does that each minute in which this process has written something. */
export function keepUp(database: Database, logger: StreamLogger, hasWritten: () => boolean): { stop(): Promise<void> } {
  const stopping = new AbortController()

  async function run(): Promise<void> {
    for (let round = 1; ; round += 1) {
      await pause(EVERY_MS * (0.75 + Math.random() / 2), stopping.signal)
      if (stopping.signal.aborted) return
      if (!hasWritten()) continue
      try {
        await removeOutdated(database)
        if (database.kind === 'embedded' && round % VACUUM_EVERY === 0) {
          await sql`VACUUM stream_heads, stream_broadcasts, stream_work, stream_claims, outbox`.execute(database.query)
        }
      } catch (error) {
        logger.warn({ err: error }, 'outdated messages could not be removed; trying again in a minute')
      }
    }
  }

  const ended = run()
  return {
    stop: async () => {
      stopping.abort()
      await ended
    },
  }
}
