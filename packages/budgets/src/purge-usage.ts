import type { Clock, ZoneId } from '@caracal/core'
import { type Database, type Job, purgeUsage, type Queryable, usageBefore } from '@caracal/postgres'
import { zoneByZone } from './zone-by-zone.ts'

/** How often somebody looks. Milliseconds. */
const EVERY_MS = 3_600_000

export type PurgeOptions = {
  readonly database: Database
  readonly clock: Clock
  /** How long what a call cost is kept, from when it was let through. Milliseconds. */
  readonly keepMs: number
  /** Rows in one step at most; the next step follows at once, until none is left. */
  readonly batch: number
  /** Told of each batch that was committed. */
  readonly onDone?: (purged: number) => void
}

/** The job that forgets what calls cost long ago. Balances do not stand on it: what a window counts, and its end, stay as they are. */
export function purgeUsageJob({ database, clock, keepMs, batch, onDone }: PurgeOptions): Job {
  return {
    name: 'usage',
    everyMs: EVERY_MS,
    step: async ({ demand }) => {
      const old = await usageBefore(database.query, clock() - keepMs, batch)
      const forget = (tx: Queryable, zone: ZoneId, found: typeof old) =>
        purgeUsage(
          tx,
          zone,
          found.map(({ request }) => request),
        )
      await zoneByZone({ database, demand }, old, forget, onDone)
      return old.length >= batch
    },
  }
}
