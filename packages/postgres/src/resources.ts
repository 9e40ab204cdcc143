import { ok, type Resource, type ResourceId, type Result, refuse, type Stored, type UnixMillis, type ZoneId } from '@caracal/core'
import type { Selectable } from 'kysely'
import { json, timestamp } from './column.ts'
import type { Queryable } from './database.ts'
import { type Page, type PageRequest, toPage } from './page.ts'
import type { ResourcesTable } from './tables.ts'
import { archiveRow, type ChangeReason, isFree, storedOf, whyUnchanged } from './versioned-row.ts'

type ResourceAt = { readonly zone: ZoneId; readonly id: ResourceId; readonly version: number }

export type ResourceFields = Omit<Resource, keyof Stored | 'id' | 'zone'>

export function toResource(row: Selectable<ResourcesTable>): Resource {
  return {
    id: row.id,
    zone: row.zone,
    name: row.name,
    kind: row.kind,
    identifier: row.identifier,
    upstream: row.upstream,
    scopes: row.scopes,
    operations: row.operations,
    provider: row.provider,
    mandateLife: row.mandate_life,
    once: row.once,
    egressAllow: row.egress_allow,
    encodedSeparators: row.encoded_separators,
    maxBodyBytes: row.max_body_bytes,
    timeouts: row.timeouts,
    ...storedOf(row),
  }
}

function columns(fields: ResourceFields) {
  return {
    name: fields.name,
    kind: fields.kind,
    identifier: fields.identifier,
    upstream: fields.upstream,
    scopes: fields.scopes,
    operations: json(fields.operations),
    provider: fields.provider,
    mandate_life: fields.mandateLife,
    once: fields.once,
    egress_allow: fields.egressAllow,
    encoded_separators: fields.encodedSeparators,
    max_body_bytes: fields.maxBodyBytes,
    timeouts: json(fields.timeouts),
  }
}

/** Refuses `conflict` when name or identifier is taken in the zone; throws a foreign key violation when the provider is not of this zone. */
export async function createResource(
  db: Queryable,
  resource: ResourceFields & { readonly id: ResourceId; readonly zone: ZoneId },
  now: UnixMillis,
): Promise<Result<Resource, 'conflict'>> {
  const row = await db
    .insertInto('resources')
    .values({ id: resource.id, zone: resource.zone, ...columns(resource), created_at: timestamp(now), updated_at: timestamp(now) })
    .onConflict((conflict) => conflict.doNothing())
    .returningAll()
    .executeTakeFirst()
  return row ? ok(toResource(row)) : refuse('conflict', 'the name or identifier is taken')
}

export async function findResource(db: Queryable, zone: ZoneId, id: ResourceId): Promise<Resource | undefined> {
  const row = await live(db, zone).where('id', '=', id).executeTakeFirst()
  return row && toResource(row)
}

export async function findResourceByName(db: Queryable, zone: ZoneId, name: string): Promise<Resource | undefined> {
  const row = await live(db, zone).where('name', '=', name).executeTakeFirst()
  return row && toResource(row)
}

/** Oldest first. */
export async function listResources(db: Queryable, zone: ZoneId, page: PageRequest): Promise<Page<Resource>> {
  const rows = await live(db, zone)
    .where('id', '>', (page.after ?? '') as ResourceId)
    .orderBy('id')
    .limit(page.limit + 1)
    .execute()
  return toPage(rows, page.limit, (row) => row.id, toResource)
}

/** Replaces all fields if the row still has its version. */
export async function updateResource(
  db: Queryable,
  at: ResourceAt,
  fields: ResourceFields,
  now: UnixMillis,
): Promise<Result<Resource, ChangeReason>> {
  const row = await db
    .updateTable('resources')
    .set((eb) => ({ ...columns(fields), version: eb('version', '+', 1), updated_at: timestamp(now) }))
    .where('zone', '=', at.zone)
    .where('id', '=', at.id)
    .where('version', '=', at.version)
    .where('archived_at', 'is', null)
    .where(isFree('resources', 'name', fields.name, at))
    .where(isFree('resources', 'identifier', fields.identifier, at))
    .returningAll()
    .executeTakeFirst()
  return row ? ok(toResource(row)) : await whyUnchanged(db, 'resources', at)
}

/** Archives the resource if it still has its version; its name and identifier are free again. */
export function archiveResource(db: Queryable, at: ResourceAt, now: UnixMillis): Promise<Result<undefined, 'not_found' | 'version_moved'>> {
  return archiveRow(db, 'resources', at, now)
}

function live(db: Queryable, zone: ZoneId) {
  return db.selectFrom('resources').selectAll().where('zone', '=', zone).where('archived_at', 'is', null)
}
