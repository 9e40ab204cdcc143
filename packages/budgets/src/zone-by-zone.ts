import type { ZoneId } from '@caracal/core'
import { type Database, inZone, type JobHold, type Queryable } from '@caracal/postgres'

/**
 * What a step of a job found, worked off in a transaction for each zone, that only commits while the job is still this process's.
 * `committed` is told what came of each.
 */
export async function zoneByZone<Row extends { readonly zone: ZoneId }, Done>(
  { database, demand }: JobHold & { readonly database: Database },
  found: readonly Row[],
  work: (tx: Queryable, zone: ZoneId, rows: readonly Row[]) => Promise<Done>,
  committed: (done: Done) => void = () => {},
): Promise<void> {
  for (const [zone, rows] of Map.groupBy(found, (row) => row.zone)) {
    const done = await inZone(zone, () =>
      database.transaction(async (tx) => {
        const result = await work(tx, zone, rows)
        await demand(tx)
        return result
      }),
    )
    committed(done)
  }
}
