import type { ApplicationId, Session, SessionId, UnixMillis, ZoneId } from '@caracal/core'
import { sql } from 'kysely'
import { nullableTimestamp, timestamp } from './column.ts'
import type { Queryable } from './database.ts'
import { toSession } from './sessions.ts'

/** A session as its first row is written. */
export type NewSession = Omit<Session, 'version' | 'createdAt' | 'updatedAt' | 'state' | 'endedAt'>

/** Inserts sessions as they are given, in one statement; the caller has checked their lineages under lock. In the order given. */
export async function insertSessions(tx: Queryable, sessions: readonly NewSession[], now: UnixMillis): Promise<readonly Session[]> {
  if (sessions.length === 0) return []
  const rows = await tx
    .insertInto('sessions')
    .values(
      sessions.map((session) => ({
        id: session.id,
        zone: session.zone,
        application: session.application,
        kind: session.kind,
        parent: session.parent,
        lineage: session.lineage,
        labels: session.labels,
        subject: session.subject,
        state: 'active' as const,
        expires_at: timestamp(session.expiresAt),
        lease_generation: session.lease?.generation ?? null,
        lease_expires_at: nullableTimestamp(session.lease?.expiresAt),
        created_at: timestamp(now),
        updated_at: timestamp(now),
      })),
    )
    .returningAll()
    .execute()
  const written = new Map(rows.map((row) => [row.id, toSession(row)]))
  return sessions.flatMap(({ id }) => written.get(id) ?? [])
}

/** Inserts one session as it is given. */
export async function insertSession(tx: Queryable, session: NewSession, now: UnixMillis): Promise<Session> {
  const [written] = await insertSessions(tx, [session], now)
  if (written === undefined) throw new Error('a session was not written')
  return written
}

/**
 * Everything that the sessions descend from, themselves included, as far as nobody else is changing it: locked so that nothing of
 * it ends or is suspended before the transaction does. Waits for nobody; what somebody else holds is missing.
 */
export async function lockLineagesWithoutWaiting(
  tx: Queryable,
  zone: ZoneId,
  ids: readonly SessionId[],
): Promise<ReadonlyMap<SessionId, Session>> {
  if (ids.length === 0) return new Map()
  const rows = await tx
    .selectFrom('sessions')
    .selectAll()
    .where('zone', '=', zone)
    .where(sql<boolean>`id = any (array(select unnest(lineage) from sessions where zone = ${zone} and id = any (${ids}::text[])))`)
    .orderBy('id') // one order for everybody
    .forShare()
    .skipLocked()
    .execute()
  return new Map(rows.map((row) => [row.id, toSession(row)]))
}

/** Those of the sessions that nobody else is changing or standing on, locked for a change. Waits for nobody. */
export async function lockSessionsWithoutWaiting(
  tx: Queryable,
  zone: ZoneId,
  ids: readonly SessionId[],
): Promise<ReadonlyMap<SessionId, Session>> {
  if (ids.length === 0) return new Map()
  const rows = await tx
    .selectFrom('sessions')
    .selectAll()
    .where('zone', '=', zone)
    .where('id', 'in', ids)
    .orderBy('id')
    .forUpdate()
    .skipLocked()
    .execute()
  return new Map(rows.map((row) => [row.id, toSession(row)]))
}

/** Ends sessions that are locked, and everything below them, for good. Returns what had not ended. */
export async function endSubtrees(tx: Queryable, zone: ZoneId, roots: readonly SessionId[], now: UnixMillis): Promise<readonly Session[]> {
  if (roots.length === 0) return []
  const rows = await tx
    .updateTable('sessions')
    .set((eb) => ({ state: 'ended', ended_at: timestamp(now), version: eb('version', '+', 1), updated_at: timestamp(now) }))
    .where('zone', '=', zone)
    .where(sql<boolean>`id = any ((select caracal_sessions_under(${zone}, ${roots}::text[]))::text[])`)
    .where('state', '<>', 'ended')
    .returningAll()
    .execute()
  return rows.map(toSession)
}

/** How many sessions of the zone live now (not ended, not expired), by application. */
export async function countLiveByApplication(db: Queryable, zone: ZoneId, now: UnixMillis): Promise<ReadonlyMap<ApplicationId, number>> {
  const rows = await db
    .selectFrom('sessions')
    .select((eb) => ['application', eb.fn.countAll<number>().as('live')])
    .where('zone', '=', zone)
    .where('state', '<>', 'ended')
    .where('expires_at', '>', timestamp(now))
    .groupBy('application')
    .execute()
  return new Map(rows.map(({ application, live }) => [application, live]))
}

/** How many children of each of these sessions live now. */
export async function countLiveChildren(
  db: Queryable,
  zone: ZoneId,
  parents: readonly SessionId[],
  now: UnixMillis,
): Promise<ReadonlyMap<SessionId, number>> {
  if (parents.length === 0) return new Map()
  const rows = await db
    .selectFrom('sessions')
    .select((eb) => ['parent', eb.fn.countAll<number>().as('live')])
    .where('zone', '=', zone)
    .where('parent', 'in', parents)
    .where('state', '<>', 'ended')
    .where('expires_at', '>', timestamp(now))
    .groupBy('parent')
    .execute()
  return new Map(rows.flatMap(({ parent, live }) => (parent === null ? [] : [[parent, live] as const])))
}
