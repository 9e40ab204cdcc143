import type { Clock } from '@caracal/core'
import { type Database, revocationsSince, standingRevocations } from '@caracal/postgres'
import type { Streams } from '@caracal/streams'
import { type RevocationSource, snapshotAtTip } from './revocation-source.ts'
import { REVOCATION_RETENTION } from './revocation-view.ts'

/** Revocations as Postgres has them, for the view of a replica that holds a database credential. */
export function postgresRevocations(database: Database, streams: Streams, clock: Clock): RevocationSource {
  return {
    snapshot: () =>
      snapshotAtTip(streams, async () => {
        const recent = await revocationsSince(database.query, clock() - REVOCATION_RETENTION * 1000)
        return [...(await standingRevocations(database.query)), ...recent]
      }),
    since: async (at) => {
      const asked = clock()
      return { at: asked, revocations: await revocationsSince(database.query, at) }
    },
  }
}
