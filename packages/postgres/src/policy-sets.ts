import {
  ok,
  type PolicySet,
  type PolicySetId,
  type PolicySetVersion,
  type PolicySetVersionId,
  type Result,
  refuse,
  type UnixMillis,
  type ZoneId,
} from '@caracal/core'
import type { Selectable } from 'kysely'
import { json, timestamp } from './column.ts'
import type { Queryable } from './database.ts'
import { type Page, type PageRequest, toPage } from './page.ts'
import type { PolicySetsTable, PolicySetVersionsTable } from './tables.ts'
import { storedOf } from './versioned-row.ts'

export function toPolicySet(row: Selectable<PolicySetsTable>): PolicySet {
  return { id: row.id, zone: row.zone, name: row.name, ...storedOf(row) }
}

function toVersion(row: Selectable<PolicySetVersionsTable>): PolicySetVersion {
  const { created_at, created_by, policy_set, ...rest } = row
  return { ...rest, policySet: policy_set, createdAt: created_at, createdBy: created_by }
}

/** Refuses `conflict` when the name is taken in the zone. */
export async function createPolicySet(
  db: Queryable,
  set: Pick<PolicySet, 'id' | 'zone' | 'name'>,
  now: UnixMillis,
): Promise<Result<PolicySet, 'conflict'>> {
  const row = await db
    .insertInto('policy_sets')
    .values({ ...set, created_at: timestamp(now), updated_at: timestamp(now) })
    .onConflict((conflict) => conflict.doNothing())
    .returningAll()
    .executeTakeFirst()
  return row ? ok(toPolicySet(row)) : refuse('conflict', 'the name is taken')
}

export async function findPolicySet(db: Queryable, zone: ZoneId, id: PolicySetId): Promise<PolicySet | undefined> {
  const row = await live(db, zone).where('id', '=', id).executeTakeFirst()
  return row && toPolicySet(row)
}

export async function findPolicySetByName(db: Queryable, zone: ZoneId, name: string): Promise<PolicySet | undefined> {
  const row = await live(db, zone).where('name', '=', name).executeTakeFirst()
  return row && toPolicySet(row)
}

/** Oldest first. */
export async function listPolicySets(db: Queryable, zone: ZoneId, page: PageRequest): Promise<Page<PolicySet>> {
  const rows = await live(db, zone)
    .where('id', '>', (page.after ?? '') as PolicySetId)
    .orderBy('id')
    .limit(page.limit + 1)
    .execute()
  return toPage(rows, page.limit, (row) => row.id, toPolicySet)
}

/**
 * Adds a version, or gives the latest one when that has the same content already (`created` false). In a transaction.
 * Refuses `not_found` for an unknown set and `validation_failed` when a member is no version of its policy in this zone
 * with that content.
 */
export async function addPolicySetVersion(
  tx: Queryable,
  version: Omit<PolicySetVersion, 'number' | 'createdAt'>,
  now: UnixMillis,
): Promise<Result<{ readonly version: PolicySetVersion; readonly created: boolean }, 'not_found' | 'validation_failed'>> {
  const set = await live(tx, version.zone).where('id', '=', version.policySet).forUpdate().executeTakeFirst()
  if (!set) return refuse('not_found')
  const last = await latestPolicySetVersion(tx, version.zone, version.policySet)
  if (last?.sha256 === version.sha256) return ok({ version: last, created: false })
  const stray = await strayMember(tx, version)
  if (stray !== undefined) return refuse('validation_failed', `${stray} is not a policy version of this zone with that content`)
  const row = await tx
    .insertInto('policy_set_versions')
    .values({
      id: version.id,
      zone: version.zone,
      policy_set: version.policySet,
      number: (last?.number ?? 0) + 1,
      members: json(version.members),
      sha256: version.sha256,
      created_at: timestamp(now),
      created_by: version.createdBy,
    })
    .returningAll()
    .executeTakeFirstOrThrow()
  await tx
    .updateTable('policy_sets')
    .set((eb) => ({ version: eb('version', '+', 1), updated_at: timestamp(now) }))
    .where('id', '=', version.policySet)
    .execute()
  return ok({ version: toVersion(row), created: true })
}

async function strayMember(tx: Queryable, { zone, members }: Pick<PolicySetVersion, 'zone' | 'members'>): Promise<string | undefined> {
  if (members.length === 0) return undefined
  const known = await tx
    .selectFrom('policy_versions')
    .select(['id', 'policy', 'sha256'])
    .where('zone', '=', zone)
    .where(
      'id',
      'in',
      members.map((member) => member.version),
    )
    .execute()
  const stray = members.find((m) => !known.some((k) => k.id === m.version && k.policy === m.policy && k.sha256 === m.sha256))
  return stray?.version
}

export async function findPolicySetVersion(db: Queryable, zone: ZoneId, id: PolicySetVersionId): Promise<PolicySetVersion | undefined> {
  const row = await db.selectFrom('policy_set_versions').selectAll().where('zone', '=', zone).where('id', '=', id).executeTakeFirst()
  return row && toVersion(row)
}

/** The version with the highest number. */
export async function latestPolicySetVersion(db: Queryable, zone: ZoneId, set: PolicySetId): Promise<PolicySetVersion | undefined> {
  const row = await versions(db, zone, set).limit(1).executeTakeFirst()
  return row && toVersion(row)
}

/** Newest first; `after` is a number. */
export async function listPolicySetVersions(
  db: Queryable,
  zone: ZoneId,
  set: PolicySetId,
  page: PageRequest,
): Promise<Page<PolicySetVersion>> {
  const rows = await versions(db, zone, set)
    .$if(page.after !== undefined, (q) => q.where('number', '<', Number(page.after)))
    .limit(page.limit + 1)
    .execute()
  return toPage(rows, page.limit, (row) => String(row.number), toVersion)
}

function versions(db: Queryable, zone: ZoneId, set: PolicySetId) {
  return db.selectFrom('policy_set_versions').selectAll().where('zone', '=', zone).where('policy_set', '=', set).orderBy('number', 'desc')
}

function live(db: Queryable, zone: ZoneId) {
  return db.selectFrom('policy_sets').selectAll().where('zone', '=', zone).where('archived_at', 'is', null)
}
