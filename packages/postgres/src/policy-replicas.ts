import type { PolicySetVersionId, UnixMillis, ZoneId } from '@caracal/core'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'

/** What one replica serves of one zone. `error` says why it could not load what is current. */
export type ReplicaState = {
  readonly zone: ZoneId
  readonly replica: string
  readonly role: string
  readonly setVersion: PolicySetVersionId | null
  readonly configVersion: number
  readonly error: string | null
  readonly seenAt: UnixMillis
}

/** Records what replicas said, in one statement. Of a zone that does not exist (any more) nothing is recorded. */
export async function recordReplicas(db: Queryable, states: readonly ReplicaState[]): Promise<void> {
  if (states.length === 0) return
  const zones = await db
    .selectFrom('zones')
    .select('id')
    .where(
      'id',
      'in',
      states.map((state) => state.zone),
    )
    .execute()
  const known = new Set(zones.map((zone) => zone.id))
  // One order for everybody: two writers never wait on each other crosswise.
  const rows = states
    .filter((state) => known.has(state.zone))
    .sort((a, b) => (a.zone + a.replica < b.zone + b.replica ? -1 : 1))
    .map((state) => ({
      zone: state.zone,
      replica: state.replica,
      role: state.role,
      set_version: state.setVersion,
      config_version: state.configVersion,
      error: state.error,
      seen_at: timestamp(state.seenAt),
    }))
  if (rows.length === 0) return
  await db
    .insertInto('policy_replicas')
    .values(rows)
    .onConflict((conflict) =>
      conflict.columns(['zone', 'replica']).doUpdateSet((eb) => ({
        role: eb.ref('excluded.role'),
        set_version: eb.ref('excluded.set_version'),
        config_version: eb.ref('excluded.config_version'),
        error: eb.ref('excluded.error'),
        seen_at: eb.ref('excluded.seen_at'),
      })),
    )
    .execute()
}

/** The replicas that were heard of since `seenSince`, by role and name. */
export async function listReplicas(db: Queryable, zone: ZoneId, seenSince: UnixMillis): Promise<readonly ReplicaState[]> {
  const rows = await db
    .selectFrom('policy_replicas')
    .selectAll()
    .where('zone', '=', zone)
    .where('seen_at', '>=', timestamp(seenSince))
    .orderBy('role')
    .orderBy('replica')
    .execute()
  return rows.map((row) => ({
    zone: row.zone,
    replica: row.replica,
    role: row.role,
    setVersion: row.set_version,
    configVersion: row.config_version,
    error: row.error,
    seenAt: row.seen_at,
  }))
}

/** Forgets replicas that were not heard of since; returns how many rows. */
export async function forgetReplicas(db: Queryable, seenBefore: UnixMillis): Promise<number> {
  const result = await db.deleteFrom('policy_replicas').where('seen_at', '<', timestamp(seenBefore)).executeTakeFirst()
  return Number(result.numDeletedRows)
}
