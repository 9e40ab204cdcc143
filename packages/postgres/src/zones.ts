import { ok, type PolicySetVersionId, type Result, refuse, type UnixMillis, type Zone, type ZoneId } from '@caracal/core'
import { type Selectable, sql } from 'kysely'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'
import { type Page, type PageRequest, toPage } from './page.ts'
import type { ZonesTable } from './tables.ts'
import { archiveRow, type ChangeReason, isFree, storedOf, whyUnchanged } from './versioned-row.ts'

export function toZone(row: Selectable<ZonesTable>): Zone {
  return { id: row.id, name: row.name, labels: row.labels, ...storedOf(row) }
}

/** Refuses `conflict` when the name is taken. */
export async function createZone(
  db: Queryable,
  zone: Pick<Zone, 'id' | 'name' | 'labels'>,
  now: UnixMillis,
): Promise<Result<Zone, 'conflict'>> {
  const row = await db
    .insertInto('zones')
    .values({ id: zone.id, name: zone.name, labels: zone.labels, created_at: timestamp(now), updated_at: timestamp(now) })
    .onConflict((conflict) => conflict.doNothing())
    .returningAll()
    .executeTakeFirst()
  return row ? ok(toZone(row)) : refuse('conflict', 'the name is taken')
}

export async function findZone(db: Queryable, id: ZoneId): Promise<Zone | undefined> {
  const row = await db.selectFrom('zones').selectAll().where('id', '=', id).where('archived_at', 'is', null).executeTakeFirst()
  return row && toZone(row)
}

export async function findZoneByName(db: Queryable, name: string): Promise<Zone | undefined> {
  const row = await db.selectFrom('zones').selectAll().where('name', '=', name).where('archived_at', 'is', null).executeTakeFirst()
  return row && toZone(row)
}

/** Oldest first. */
export async function listZones(db: Queryable, page: PageRequest): Promise<Page<Zone>> {
  const rows = await db
    .selectFrom('zones')
    .selectAll()
    .where('archived_at', 'is', null)
    .$if(page.after !== undefined, (q) => q.where('id', '>', page.after as ZoneId))
    .orderBy('id')
    .limit(page.limit + 1)
    .execute()
  return toPage(rows, page.limit, (row) => row.id, toZone)
}

/** Changes the row if it still has `version`. */
export async function updateZone(
  db: Queryable,
  at: { readonly id: ZoneId; readonly version: number },
  changes: Partial<Pick<Zone, 'name' | 'labels'>>,
  now: UnixMillis,
): Promise<Result<Zone, ChangeReason>> {
  const row = await db
    .updateTable('zones')
    .set((eb) => ({ ...changes, version: eb('version', '+', 1), updated_at: timestamp(now) }))
    .where('id', '=', at.id)
    .where('version', '=', at.version)
    .where('archived_at', 'is', null)
    .where(isFree('zones', 'name', changes.name, at))
    .returningAll()
    .executeTakeFirst()
  return row ? ok(toZone(row)) : await whyUnchanged(db, 'zones', at)
}

/** Archives the zone if it still has `version`. What it holds stays for evidence and is loaded by nobody. */
export function archiveZone(
  db: Queryable,
  at: { readonly id: ZoneId; readonly version: number },
  now: UnixMillis,
): Promise<Result<undefined, 'not_found' | 'version_moved'>> {
  return archiveRow(db, 'zones', at, now)
}

/** Counts a change of anything that replicas hold of the zone; returns the new version. In the transaction of the change. */
export async function bumpConfigVersion(db: Queryable, zone: ZoneId): Promise<number> {
  const row = await db
    .updateTable('zones')
    .set((eb) => ({ config_version: eb('config_version', '+', 1) }))
    .where('id', '=', zone)
    .returning('config_version')
    .executeTakeFirst()
  if (!row) throw new Error(`there is no zone ${zone}`)
  return row.config_version
}

/** Current configuration version and active policy of every zone, in one statement. */
export async function zoneVersions(
  db: Queryable,
): Promise<readonly { readonly zone: ZoneId; readonly version: number; readonly policy: PolicySetVersionId | null }[]> {
  return await db
    .selectFrom('zones')
    .leftJoin('policy_heads', 'policy_heads.zone', 'zones.id')
    .select(['zones.id as zone', 'zones.config_version as version', 'policy_heads.set_version as policy'])
    .where('zones.archived_at', 'is', null)
    .orderBy('zones.id')
    .execute()
}

/** A transaction-scoped lock named by `subject` within a zone: 64 bits, namespaced (P-134). Other zones do not wait. */
export async function lockInZone(tx: Queryable, zone: ZoneId, subject: string): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${`caracal/${zone}/${subject}`}, 0))`.execute(tx)
}
