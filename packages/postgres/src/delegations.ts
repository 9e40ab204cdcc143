import {
  type ApplicationId,
  type Delegation,
  type DelegationId,
  ok,
  type Result,
  refuse,
  type SessionId,
  type UnixMillis,
  type ZoneId,
} from '@caracal/core'
import { type RawBuilder, type Selectable, sql } from 'kysely'
import { json, timestamp } from './column.ts'
import type { Queryable } from './database.ts'
import { type Page, type PageRequest, toPage } from './page.ts'
import type { DelegationsTable } from './tables.ts'
import { storedOf } from './versioned-row.ts'

export function toDelegation(row: Selectable<DelegationsTable>): Delegation {
  return {
    id: row.id,
    zone: row.zone,
    from: row.from_session,
    fromApplication: row.from_application,
    fromLineage: row.from_lineage,
    toApplication: row.to_application,
    to: row.to_session,
    parent: row.parent,
    lineage: row.lineage,
    grants: row.grants,
    hops: row.hops,
    state: row.state,
    expiresAt: row.expires_at,
    ...storedOf(row),
  }
}

/** Inserts a delegation as it is given; the caller has narrowed it under `lockDelegations` and `lockLineage`. */
export async function insertDelegation(
  tx: Queryable,
  delegation: Omit<Delegation, 'version' | 'createdAt' | 'updatedAt'>,
  now: UnixMillis,
): Promise<Delegation> {
  const row = await tx
    .insertInto('delegations')
    .values({
      id: delegation.id,
      zone: delegation.zone,
      from_session: delegation.from,
      from_application: delegation.fromApplication,
      from_lineage: delegation.fromLineage,
      to_application: delegation.toApplication,
      to_session: delegation.to,
      parent: delegation.parent,
      lineage: delegation.lineage,
      grants: json(delegation.grants),
      hops: delegation.hops,
      state: delegation.state,
      expires_at: timestamp(delegation.expiresAt),
      created_at: timestamp(now),
      updated_at: timestamp(now),
    })
    .returningAll()
    .executeTakeFirstOrThrow()
  return toDelegation(row)
}

export async function findDelegation(db: Queryable, zone: ZoneId, id: DelegationId): Promise<Delegation | undefined> {
  const row = await db.selectFrom('delegations').selectAll().where('zone', '=', zone).where('id', '=', id).executeTakeFirst()
  return row && toDelegation(row)
}

/** Those of `ids` that exist in the zone, in one statement, ancestors first. */
export async function findDelegations(db: Queryable, zone: ZoneId, ids: readonly DelegationId[]): Promise<readonly Delegation[]> {
  if (ids.length === 0) return []
  return rootFirst(await db.selectFrom('delegations').selectAll().where('zone', '=', zone).where('id', 'in', ids).execute())
}

/** The same, locked so that none of them is revoked before the transaction ends. */
export async function lockDelegations(tx: Queryable, zone: ZoneId, ids: readonly DelegationId[]): Promise<readonly Delegation[]> {
  if (ids.length === 0) return []
  const rows = await tx
    .selectFrom('delegations')
    .selectAll()
    .where('zone', '=', zone)
    .where('id', 'in', ids)
    .orderBy('id') // one order for everybody
    .forShare()
    .execute()
  return rootFirst(rows)
}

export type DelegationFilter = {
  readonly from?: SessionId | undefined
  readonly to?: SessionId | undefined
  readonly fromApplication?: ApplicationId | undefined
  readonly toApplication?: ApplicationId | undefined
  /** Offered by or to this application. */
  readonly party?: ApplicationId | undefined
  readonly state?: Delegation['state'] | undefined
  /** The subtree of this delegation, itself included. */
  readonly under?: DelegationId | undefined
}

/** Newest first. */
export async function listDelegations(db: Queryable, zone: ZoneId, filter: DelegationFilter, page: PageRequest): Promise<Page<Delegation>> {
  let query = db.selectFrom('delegations').selectAll().where('zone', '=', zone)
  if (filter.from !== undefined) query = query.where('from_session', '=', filter.from)
  if (filter.to !== undefined) query = query.where('to_session', '=', filter.to)
  if (filter.fromApplication !== undefined) query = query.where('from_application', '=', filter.fromApplication)
  if (filter.toApplication !== undefined) query = query.where('to_application', '=', filter.toApplication)
  const { party } = filter
  if (party !== undefined) query = query.where((eb) => eb.or([eb('from_application', '=', party), eb('to_application', '=', party)]))
  if (filter.state !== undefined) query = query.where('state', '=', filter.state)
  if (filter.under !== undefined) query = query.where(under(zone, filter.under))
  if (page.after !== undefined) query = query.where('id', '<', page.after as DelegationId)
  const rows = await query
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute()
  return toPage(rows, page.limit, (row) => row.id, toDelegation)
}

/** Binds an offer to the session that accepts it; exactly one session gets it. The caller has checked whose session it is. */
export async function acceptDelegation(
  tx: Queryable,
  acceptance: { readonly zone: ZoneId; readonly id: DelegationId; readonly to: SessionId },
  now: UnixMillis,
): Promise<Result<Delegation, 'delegation_not_usable'>> {
  const row = await tx
    .updateTable('delegations')
    .set((eb) => ({ state: 'active', to_session: acceptance.to, version: eb('version', '+', 1), updated_at: timestamp(now) }))
    .where('zone', '=', acceptance.zone)
    .where('id', '=', acceptance.id)
    .where('state', '=', 'offered')
    .where('expires_at', '>', timestamp(now))
    .returningAll()
    .executeTakeFirst()
  return row ? ok(toDelegation(row)) : refuse('delegation_not_usable')
}

/** Revokes a delegation and everything below it, in one statement. Returns what was not revoked before, itself first. */
export async function revokeDelegationSubtree(
  tx: Queryable,
  zone: ZoneId,
  root: DelegationId,
  now: UnixMillis,
): Promise<readonly Delegation[]> {
  await tx.selectFrom('delegations').select('id').where('zone', '=', zone).where('id', '=', root).forUpdate().execute()
  return await revokeWhere(tx, zone, under(zone, root), now)
}

/**
 * Revokes what ended sessions handed out or held, and everything below that: delegations offered from within their subtrees,
 * and delegations they had accepted. Ancestors first.
 */
export async function revokeDelegationsOfSessions(
  tx: Queryable,
  zone: ZoneId,
  sessions: readonly SessionId[],
  now: UnixMillis,
): Promise<readonly Delegation[]> {
  if (sessions.length === 0) return []
  const { rows: roots } = await sql<{ id: DelegationId }>`
    select id from delegations where zone = ${zone} and state <> 'revoked'
    and (id = any ((select caracal_delegations_from(${zone}, ${sessions}::text[]))::text[]) or to_session = any (${sessions}::text[])) order by id for update`.execute(
    tx,
  )
  if (roots.length === 0) return []
  const ids = roots.map((row) => row.id)
  return await revokeWhere(tx, zone, underAny(zone, ids), now)
}

async function revokeWhere(tx: Queryable, zone: ZoneId, which: RawBuilder<boolean>, now: UnixMillis): Promise<readonly Delegation[]> {
  const rows = await tx
    .updateTable('delegations')
    .set((eb) => ({ state: 'revoked', version: eb('version', '+', 1), updated_at: timestamp(now) }))
    .where('zone', '=', zone)
    .where(which)
    .where('state', '<>', 'revoked')
    .returningAll()
    .execute()
  return rootFirst(rows)
}

function under(zone: ZoneId, root: DelegationId): RawBuilder<boolean> {
  return underAny(zone, [root])
}

function underAny(zone: ZoneId, roots: readonly DelegationId[]): RawBuilder<boolean> {
  return sql<boolean>`delegations.id = any ((select caracal_delegations_under(${zone}, ${roots}::text[]))::text[])`
}

function rootFirst(rows: readonly Selectable<DelegationsTable>[]): readonly Delegation[] {
  return rows.map(toDelegation).sort((a, b) => a.lineage.length - b.lineage.length || (a.id < b.id ? -1 : 1))
}
