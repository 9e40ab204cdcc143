import type { PolicySetVersionId, UnixMillis, ZoneId } from '@caracal/core'
import { sql } from 'kysely'
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
  const column = <K extends keyof ReplicaState>(name: K) => states.map((state) => state[name])
  // One order for everybody: two writers never wait on each other crosswise.
  await sql`
    insert into policy_replicas (zone, replica, role, set_version, config_version, error, seen_at)
    select said.* from unnest(
      ${column('zone')}::text[], ${column('replica')}::text[], ${column('role')}::text[], ${column('setVersion')}::text[],
      ${column('configVersion')}::bigint[], ${column('error')}::text[], array[${sql.join(states.map(({ seenAt }) => timestamp(seenAt)))}]::timestamptz[]
    ) as said (zone, replica, role, set_version, config_version, error, seen_at)
    join zones on zones.id = said.zone
    order by said.zone, said.replica
    on conflict (zone, replica) do update set role = excluded.role, set_version = excluded.set_version,
      config_version = excluded.config_version, error = excluded.error, seen_at = excluded.seen_at`.execute(db)
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
