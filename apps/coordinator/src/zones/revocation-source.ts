import type { Clock, Revocation, RevocationKind } from '@caracal/core'
import { REVOCATION_RETENTION, type RevocationSource, snapshotAtTip } from '@caracal/enforcement'
import { type Database, revocationsSince } from '@caracal/postgres'
import type { Streams } from '@caracal/streams'

/** Revoked for as long as nobody lifts it, however long ago: few, and no mandate's life bounds them. */
const STANDING: readonly RevocationKind[] = ['zone', 'application', 'subject', 'connection', 'resource', 'provider']

/** Revocations as Postgres has them, for the view of this replica. */
export function revocationsFromPostgres(database: Database, streams: Streams, clock: Clock): RevocationSource {
  return {
    snapshot: () =>
      snapshotAtTip(streams, async () => {
        const recent = await revocationsSince(database.query, clock() - REVOCATION_RETENTION * 1000)
        return [...(await standing(database)), ...recent]
      }),
    since: async (at) => {
      const asked = clock()
      return { at: asked, revocations: await revocationsSince(database.query, at) }
    },
  }
}

async function standing(database: Database): Promise<readonly Revocation[]> {
  const rows = await database.query
    .selectFrom('revocations')
    .select(['kind', 'target', 'zone', 'at', 'reason'])
    .where('kind', 'in', STANDING)
    .where('lifted_at', 'is', null)
    .execute()
  return rows.map(({ kind, target, zone, at, reason }) => ({ v: 1, op: 'revoke', kind, id: target, zone, at, reason }))
}
