import {
  ok,
  type Policy,
  type PolicyId,
  type PolicyVersion,
  type PolicyVersionId,
  type Result,
  refuse,
  type UnixMillis,
  type ZoneId,
} from '@caracal/core'
import type { Selectable } from 'kysely'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'
import { type Page, type PageRequest, toPage } from './page.ts'
import type { PoliciesTable, PolicyVersionsTable } from './tables.ts'
import { archiveRow, storedOf } from './versioned-row.ts'

export function toPolicy(row: Selectable<PoliciesTable>): Policy {
  return { id: row.id, zone: row.zone, name: row.name, ...storedOf(row) }
}

function toVersion(row: Selectable<PolicyVersionsTable>): PolicyVersion {
  const { created_at, created_by, ...rest } = row
  return { ...rest, createdAt: created_at, createdBy: created_by }
}

/** Refuses `conflict` when the name is taken in the zone. */
export async function createPolicy(
  db: Queryable,
  policy: Pick<Policy, 'id' | 'zone' | 'name'>,
  now: UnixMillis,
): Promise<Result<Policy, 'conflict'>> {
  const row = await db
    .insertInto('policies')
    .values({ ...policy, created_at: timestamp(now), updated_at: timestamp(now) })
    .onConflict((conflict) => conflict.doNothing())
    .returningAll()
    .executeTakeFirst()
  return row ? ok(toPolicy(row)) : refuse('conflict', 'the name is taken')
}

export async function findPolicy(db: Queryable, zone: ZoneId, id: PolicyId): Promise<Policy | undefined> {
  const row = await live(db, zone).where('id', '=', id).executeTakeFirst()
  return row && toPolicy(row)
}

export async function findPolicyByName(db: Queryable, zone: ZoneId, name: string): Promise<Policy | undefined> {
  const row = await live(db, zone).where('name', '=', name).executeTakeFirst()
  return row && toPolicy(row)
}

/** Oldest first. */
export async function listPolicies(db: Queryable, zone: ZoneId, page: PageRequest): Promise<Page<Policy>> {
  const rows = await live(db, zone)
    .where('id', '>', (page.after ?? '') as PolicyId)
    .orderBy('id')
    .limit(page.limit + 1)
    .execute()
  return toPage(rows, page.limit, (row) => row.id, toPolicy)
}

/** Archives the policy if it still has `version`. Its versions stay: set versions pin them. */
export function archivePolicy(
  db: Queryable,
  at: { readonly zone: ZoneId; readonly id: PolicyId; readonly version: number },
  now: UnixMillis,
): Promise<Result<undefined, 'not_found' | 'version_moved'>> {
  return archiveRow(db, 'policies', at, now)
}

/**
 * Adds a version, or gives the one that has this content already (`created` false): same content, same version.
 * In a transaction. The policy's own `version` counts with each that is added.
 */
export async function addPolicyVersion(
  tx: Queryable,
  version: Omit<PolicyVersion, 'number' | 'createdAt'>,
  now: UnixMillis,
): Promise<Result<{ readonly version: PolicyVersion; readonly created: boolean }, 'not_found'>> {
  const policy = await live(tx, version.zone).where('id', '=', version.policy).forUpdate().executeTakeFirst()
  if (!policy) return refuse('not_found')
  const same = await tx
    .selectFrom('policy_versions')
    .selectAll()
    .where('policy', '=', version.policy)
    .where('sha256', '=', version.sha256)
    .executeTakeFirst()
  if (same) return ok({ version: toVersion(same), created: false })
  const last = await tx
    .selectFrom('policy_versions')
    .select('number')
    .where('policy', '=', version.policy)
    .orderBy('number', 'desc')
    .limit(1)
    .executeTakeFirst()
  const { createdBy, ...content } = version
  const row = await tx
    .insertInto('policy_versions')
    .values({ ...content, number: (last?.number ?? 0) + 1, created_at: timestamp(now), created_by: createdBy })
    .returningAll()
    .executeTakeFirstOrThrow()
  await tx
    .updateTable('policies')
    .set((eb) => ({ version: eb('version', '+', 1), updated_at: timestamp(now) }))
    .where('id', '=', version.policy)
    .execute()
  return ok({ version: toVersion(row), created: true })
}

export async function findPolicyVersion(db: Queryable, zone: ZoneId, id: PolicyVersionId): Promise<PolicyVersion | undefined> {
  const row = await db.selectFrom('policy_versions').selectAll().where('zone', '=', zone).where('id', '=', id).executeTakeFirst()
  return row && toVersion(row)
}

/** Those of these versions that the zone has. */
export async function findPolicyVersions(db: Queryable, zone: ZoneId, ids: readonly PolicyVersionId[]): Promise<readonly PolicyVersion[]> {
  if (ids.length === 0) return []
  const rows = await db.selectFrom('policy_versions').selectAll().where('zone', '=', zone).where('id', 'in', ids).execute()
  return rows.map(toVersion)
}

/** Every policy of the zone with the content hash of its newest version. */
export async function listPolicyHashes(
  db: Queryable,
  zone: ZoneId,
): Promise<readonly { readonly id: PolicyId; readonly name: string; readonly sha256: string | null }[]> {
  return await live(db, zone)
    .clearSelect()
    .select((eb) => [
      'policies.id',
      'policies.name',
      eb
        .selectFrom('policy_versions')
        .select('policy_versions.sha256')
        .whereRef('policy_versions.policy', '=', 'policies.id')
        .orderBy('policy_versions.number', 'desc')
        .limit(1)
        .as('sha256'),
    ])
    .orderBy('policies.id')
    .execute()
}

/** The version with the highest number. */
export async function latestPolicyVersion(db: Queryable, zone: ZoneId, policy: PolicyId): Promise<PolicyVersion | undefined> {
  const row = await db
    .selectFrom('policy_versions')
    .selectAll()
    .where('zone', '=', zone)
    .where('policy', '=', policy)
    .orderBy('number', 'desc')
    .limit(1)
    .executeTakeFirst()
  return row && toVersion(row)
}

/** Newest first; `after` is a number. */
export async function listPolicyVersions(db: Queryable, zone: ZoneId, policy: PolicyId, page: PageRequest): Promise<Page<PolicyVersion>> {
  const rows = await db
    .selectFrom('policy_versions')
    .selectAll()
    .where('zone', '=', zone)
    .where('policy', '=', policy)
    .$if(page.after !== undefined, (q) => q.where('number', '<', Number(page.after)))
    .orderBy('number', 'desc')
    .limit(page.limit + 1)
    .execute()
  return toPage(rows, page.limit, (row) => String(row.number), toVersion)
}

function live(db: Queryable, zone: ZoneId) {
  return db.selectFrom('policies').selectAll().where('zone', '=', zone).where('archived_at', 'is', null)
}
