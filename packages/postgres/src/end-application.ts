import type { ApplicationId, SessionId, UnixMillis, ZoneId } from '@caracal/core'
import { sql } from 'kysely'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'

/** What ended: `roots` are those sessions whose ids cover everything below them. */
export type EndedSessions = { readonly roots: readonly SessionId[]; readonly ended: readonly SessionId[] }

/** Ends every live session of an application and everything below each, in two statements, for good. */
export async function endSessionsOfApplication(
  tx: Queryable,
  zone: ZoneId,
  application: ApplicationId,
  now: UnixMillis,
): Promise<EndedSessions> {
  const { rows: own } = await sql<{ id: SessionId; lineage: readonly SessionId[] }>`
    select id, lineage from sessions
    where zone = ${zone} and application = ${application} and state <> 'ended' order by id for update`.execute(tx)
  if (own.length === 0) return { roots: [], ended: [] }
  const ids = new Set(own.map((row) => row.id))
  const roots = own.filter((row) => !row.lineage.some((above) => above !== row.id && ids.has(above))).map((row) => row.id)
  const ended = await tx
    .updateTable('sessions')
    .set((eb) => ({ state: 'ended', ended_at: timestamp(now), version: eb('version', '+', 1), updated_at: timestamp(now) }))
    .where('zone', '=', zone)
    .where(sql<boolean>`sessions.id = any ((select caracal_sessions_under(${zone}, ${roots}::text[]))::text[])`)
    .where('state', '<>', 'ended')
    .returning('id')
    .execute()
  return { roots, ended: ended.map((row) => row.id) }
}

/** How much of each noun a zone holds that is in use: for the preview of its end. */
export async function countZone(db: Queryable, zone: ZoneId, now: UnixMillis): Promise<Readonly<Record<string, number>>> {
  const { rows } = await sql<Record<string, number>>`select
    (select count(*)::int from applications where zone = ${zone} and archived_at is null) as applications,
    (select count(*)::int from resources where zone = ${zone} and archived_at is null) as resources,
    (select count(*)::int from providers where zone = ${zone} and archived_at is null) as providers,
    (select count(*)::int from policies where zone = ${zone} and archived_at is null) as policies,
    (select count(*)::int from sessions where zone = ${zone} and state <> 'ended' and expires_at > ${timestamp(now)}) as sessions,
    (select count(*)::int from delegations where zone = ${zone} and state <> 'revoked' and expires_at > ${timestamp(now)}) as delegations
  `.execute(db)
  return rows[0] ?? {}
}
