import type { Clock } from '@caracal/core'
import { type Database, inZone, type Job, purgeUsage, usageBefore } from '@caracal/postgres'

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
      for (const [zone, found] of Map.groupBy(old, (one) => one.zone)) {
        const requests = found.map(({ request }) => request)
        const purged = await inZone(zone, () =>
          database.transaction(async (tx) => {
            const count = await purgeUsage(tx, zone, requests)
            await demand(tx)
            return count
          }),
        )
        onDone?.(purged)
      }
      return old.length >= batch
    },
  }
}
