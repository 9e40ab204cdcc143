import { type ApplicationId, ok, type Result, refuse, type Session, type SessionId, type UnixMillis, type ZoneId } from '@caracal/core'
import { type Selectable, sql } from 'kysely'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'
import { type Page, type PageRequest, toPage } from './page.ts'
import type { SessionsTable } from './tables.ts'
import { storedOf } from './versioned-row.ts'

export function toSession(row: Selectable<SessionsTable>): Session {
  return {
    id: row.id,
    zone: row.zone,
    application: row.application,
    kind: row.kind,
    parent: row.parent,
    lineage: row.lineage,
    labels: row.labels,
    subject: row.subject,
    state: row.state,
    expiresAt: row.expires_at,
    lease:
      row.lease_generation === null || row.lease_expires_at === null
        ? null
        : { generation: row.lease_generation, expiresAt: row.lease_expires_at },
    endedAt: row.ended_at,
    ...storedOf(row),
  }
}

/**
 * The session's whole lineage, root first, locked so that nothing of it ends or is suspended before the transaction does.
 * Empty when there is no such session in the zone. Read it before a child is inserted.
 */
export async function lockLineage(tx: Queryable, zone: ZoneId, id: SessionId): Promise<readonly Session[]> {
  const self = await findSession(tx, zone, id)
  if (!self) return []
  const rows = await tx
    .selectFrom('sessions')
    .selectAll()
    .where('zone', '=', zone)
    .where('id', 'in', self.lineage)
    .orderBy('id') // one order for everybody
    .forShare()
    .execute()
  return rows.map(toSession).sort((a, b) => a.lineage.length - b.lineage.length)
}

export async function findSession(db: Queryable, zone: ZoneId, id: SessionId): Promise<Session | undefined> {
  const row = await db.selectFrom('sessions').selectAll().where('zone', '=', zone).where('id', '=', id).executeTakeFirst()
  return row && toSession(row)
}

/** Those of `ids` that exist in the zone, in one statement, in no particular order. */
export async function findSessions(db: Queryable, zone: ZoneId, ids: readonly SessionId[]): Promise<readonly Session[]> {
  if (ids.length === 0) return []
  const rows = await db.selectFrom('sessions').selectAll().where('zone', '=', zone).where('id', 'in', ids).execute()
  return rows.map(toSession)
}

export type SessionFilter = {
  readonly application?: ApplicationId | undefined
  readonly state?: Session['state'] | undefined
  readonly parent?: SessionId | undefined
  /** The subtree of this session, itself included. */
  readonly under?: SessionId | undefined
}

/** Newest first. */
export async function listSessions(db: Queryable, zone: ZoneId, filter: SessionFilter, page: PageRequest): Promise<Page<Session>> {
  const { application, state, parent, under } = filter
  let query = db.selectFrom('sessions').selectAll().where('zone', '=', zone)
  if (application !== undefined) query = query.where('application', '=', application)
  if (state !== undefined) query = query.where('state', '=', state)
  if (parent !== undefined) query = query.where('parent', '=', parent)
  if (under !== undefined) query = query.where(inSubtree(zone, under))
  if (page.after !== undefined) query = query.where('id', '<', page.after as SessionId)
  const rows = await query
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute()
  return toPage(rows, page.limit, (row) => row.id, toSession)
}

/** Suspends a session and everything below it. Returns what was active, the session itself first; empty when nothing was. */
export async function suspendSubtree(tx: Queryable, zone: ZoneId, root: SessionId, now: UnixMillis): Promise<readonly Session[]> {
  await lockRoot(tx, zone, root)
  const rows = await tx
    .updateTable('sessions')
    .set((eb) => ({
      state: 'suspended',
      held: sql<boolean>`held or id = ${root}`,
      version: eb('version', '+', 1),
      updated_at: timestamp(now),
    }))
    .where('zone', '=', zone)
    .where(inSubtree(zone, root))
    .where((eb) =>
      eb.or([eb('state', '=', 'active'), eb.and([eb('id', '=', root), eb('state', '=', 'suspended'), eb('held', '=', false)])]),
    )
    .returningAll()
    .execute()
  return rootFirst(rows)
}

/**
 * Lifts the suspension of a session. It and what is below it become active again, except what is still suspended by itself or
 * by something else above it. Returns what became active, ancestors first.
 */
export async function resumeSubtree(tx: Queryable, zone: ZoneId, root: SessionId, now: UnixMillis): Promise<readonly Session[]> {
  await lockRoot(tx, zone, root)
  const lifted = await tx
    .updateTable('sessions')
    .set({ held: false })
    .where('zone', '=', zone)
    .where('id', '=', root)
    .where('held', '=', true)
    .returning('id')
    .executeTakeFirst()
  if (!lifted) return []
  const rows = await tx
    .updateTable('sessions')
    .set((eb) => ({ state: 'active', version: eb('version', '+', 1), updated_at: timestamp(now) }))
    .where('zone', '=', zone)
    .where(inSubtree(zone, root))
    .where('state', '=', 'suspended')
    .where(
      sql<boolean>`not exists (select 1 from sessions as above where above.id = any (sessions.lineage) and above.held and above.state <> 'ended')`,
    )
    .returningAll()
    .execute()
  return rootFirst(rows)
}

/** Ends a session and everything below it, for good. Returns what had not ended, the session itself first. */
export async function endSubtree(tx: Queryable, zone: ZoneId, root: SessionId, now: UnixMillis): Promise<readonly Session[]> {
  await lockRoot(tx, zone, root)
  const rows = await tx
    .updateTable('sessions')
    .set((eb) => ({ state: 'ended', ended_at: timestamp(now), version: eb('version', '+', 1), updated_at: timestamp(now) }))
    .where('zone', '=', zone)
    .where(inSubtree(zone, root))
    .where('state', '<>', 'ended')
    .returningAll()
    .execute()
  return rootFirst(rows)
}

/** Renews a lease that is held with this generation and has not run out. Another generation is `lease_lost`. */
export async function renewLease(
  db: Queryable,
  lease: { readonly zone: ZoneId; readonly session: SessionId; readonly generation: number; readonly expiresAt: UnixMillis },
  now: UnixMillis,
): Promise<Result<Session, 'session_not_usable' | 'lease_lost'>> {
  const row = await db
    .updateTable('sessions')
    .set((eb) => ({ lease_expires_at: timestamp(lease.expiresAt), version: eb('version', '+', 1), updated_at: timestamp(now) }))
    .where('zone', '=', lease.zone)
    .where('id', '=', lease.session)
    .where('state', '<>', 'ended')
    .where('expires_at', '>', timestamp(now))
    .where('lease_generation', '=', lease.generation)
    .where('lease_expires_at', '>', timestamp(now))
    .returningAll()
    .executeTakeFirst()
  return row ? ok(toSession(row)) : await whyNoLease(db, lease.zone, lease.session, now)
}

/** Takes the lease over with the next generation: whoever held it before cannot renew any more. */
export async function takeLease(
  db: Queryable,
  lease: { readonly zone: ZoneId; readonly session: SessionId; readonly expiresAt: UnixMillis },
  now: UnixMillis,
): Promise<Result<Session, 'session_not_usable' | 'lease_lost'>> {
  const row = await db
    .updateTable('sessions')
    .set((eb) => ({
      lease_generation: eb('lease_generation', '+', 1),
      lease_expires_at: timestamp(lease.expiresAt),
      version: eb('version', '+', 1),
      updated_at: timestamp(now),
    }))
    .where('zone', '=', lease.zone)
    .where('id', '=', lease.session)
    .where('state', '<>', 'ended')
    .where('expires_at', '>', timestamp(now))
    .where('lease_generation', 'is not', null)
    .returningAll()
    .executeTakeFirst()
  return row ? ok(toSession(row)) : await whyNoLease(db, lease.zone, lease.session, now)
}

async function whyNoLease(db: Queryable, zone: ZoneId, id: SessionId, now: UnixMillis) {
  const found = await findSession(db, zone, id)
  const usable = found !== undefined && found.lease !== null && found.state !== 'ended' && found.expiresAt > now
  return refuse(usable ? 'lease_lost' : 'session_not_usable')
}

/** Sessions whose time or lease is over and that have not ended, longest overdue first; of every zone. */
export async function dueSessions(
  db: Queryable,
  now: UnixMillis,
  limit: number,
): Promise<readonly { readonly zone: ZoneId; readonly id: SessionId }[]> {
  const { rows } = await sql<{ zone: ZoneId; id: SessionId }>`
    select zone, id from caracal_sessions_due(${timestamp(now)}, ${limit})`.execute(db)
  return rows
}

/** A statement of its own: the one after it sees the children of whoever held the lock before. */
async function lockRoot(tx: Queryable, zone: ZoneId, root: SessionId): Promise<void> {
  await tx.selectFrom('sessions').select('id').where('zone', '=', zone).where('id', '=', root).forUpdate().execute()
}

function inSubtree(zone: ZoneId, root: SessionId) {
  return sql<boolean>`sessions.id = any ((select caracal_sessions_under(${zone}, array[${root}::text]))::text[])`
}

function rootFirst(rows: readonly Selectable<SessionsTable>[]): readonly Session[] {
  return rows.map(toSession).sort((a, b) => a.lineage.length - b.lineage.length || (a.id < b.id ? -1 : 1))
}
