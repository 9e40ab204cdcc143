import { ok, type Refusal, type Result, refuse, type Stored, type UnixMillis, type ZoneId } from '@caracal/core'
import { type RawBuilder, sql } from 'kysely'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'

type VersionedTable = 'zones' | 'applications' | 'providers' | 'resources' | 'budgets' | 'policies' | 'policy_sets'

/** A row as its reader saw it. Without a zone only for zones themselves. */
export type RowAt = { readonly id: string; readonly zone?: ZoneId; readonly version: number }

/** Why an optimistic change changed nothing. */
export type ChangeReason = 'not_found' | 'version_moved' | 'conflict'

export function storedOf(row: { version: number; created_at: number; updated_at: number }): Stored {
  return { version: row.version, createdAt: row.created_at, updatedAt: row.updated_at }
}

/** Condition: no other row that is not archived has this value. True when the value is not given, because then it does not change. */
export function isFree(table: VersionedTable, column: 'name' | 'identifier', value: string | undefined, at: RowAt): RawBuilder<boolean> {
  if (value === undefined) return sql<boolean>`true`
  const zone = at.zone === undefined ? sql`` : sql`and other.zone = ${at.zone}`
  return sql<boolean>`not exists (
    select 1 from ${sql.table(table)} as other
    where other.${sql.ref(column)} = ${value} and other.id <> ${at.id} and other.archived_at is null ${zone})`
}

/**
 * Tells apart why `update … where version = …` changed nothing: no such row in this zone, another version, or a name that is
 * taken. A row of another zone is not found.
 */
export async function whyUnchanged(db: Queryable, table: VersionedTable, at: RowAt): Promise<Refusal<ChangeReason>> {
  const found = await versionOf(db, table, at)
  if (found === undefined) return refuse('not_found')
  return found === at.version ? refuse('conflict', 'the name is taken') : refuse('version_moved')
}

/** Archives the row if it still has its version: it is gone for every reader and its name is free, but what refers to it stays whole. */
export async function archiveRow(
  db: Queryable,
  table: VersionedTable,
  at: RowAt,
  now: UnixMillis,
): Promise<Result<undefined, 'not_found' | 'version_moved'>> {
  const { rows } = await sql`
    update ${sql.table(table)} set version = version + 1, updated_at = ${timestamp(now)}, archived_at = ${timestamp(now)}
    where id = ${at.id} ${inZone(at)} and version = ${at.version} and archived_at is null returning id`.execute(db)
  if (rows.length > 0) return ok(undefined)
  return refuse((await versionOf(db, table, at)) === undefined ? 'not_found' : 'version_moved')
}

async function versionOf(db: Queryable, table: VersionedTable, at: RowAt): Promise<number | undefined> {
  const { rows } = await sql<{ version: number }>`
    select version from ${sql.table(table)} where id = ${at.id} ${inZone(at)} and archived_at is null`.execute(db)
  return rows[0]?.version
}

function inZone(at: RowAt): RawBuilder<unknown> {
  return at.zone === undefined ? sql`` : sql`and zone = ${at.zone}`
}
