import { ok, type PolicyActivation, type PolicySetVersionId, type Result, refuse, type UnixMillis, type ZoneId } from '@caracal/core'
import type { Selectable } from 'kysely'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'
import { type Page, type PageRequest, toPage } from './page.ts'
import { findPolicySetVersion } from './policy-sets.ts'
import type { PolicyHeadsTable } from './tables.ts'

function toActivation(row: Selectable<PolicyHeadsTable>): PolicyActivation {
  const { zone, set_version, generation, activated_at, activated_by } = row
  return { zone, setVersion: set_version, generation, activatedAt: activated_at, activatedBy: activated_by }
}

/** What the zone decides with now. */
export async function activePolicy(db: Queryable, zone: ZoneId): Promise<PolicyActivation | undefined> {
  const row = await db.selectFrom('policy_heads').selectAll().where('zone', '=', zone).executeTakeFirst()
  return row && toActivation(row)
}

/**
 * Makes a set version the active one if the zone's generation still is `expected` (0 before the first activation). In a
 * transaction. Of several at once exactly one succeeds; the others are refused `version_moved`.
 */
export async function activatePolicySetVersion(
  tx: Queryable,
  activation: { readonly zone: ZoneId; readonly setVersion: PolicySetVersionId; readonly expected: number; readonly by: string },
  now: UnixMillis,
): Promise<Result<PolicyActivation, 'not_found' | 'version_moved'>> {
  const { zone, setVersion, expected, by } = activation
  if (!(await findPolicySetVersion(tx, zone, setVersion))) return refuse('not_found')
  const before = await tx.selectFrom('policy_heads').selectAll().where('zone', '=', zone).forUpdate().executeTakeFirst()
  if ((before?.generation ?? 0) !== expected) return refuse('version_moved')
  const head = { set_version: setVersion, generation: expected + 1, activated_at: timestamp(now), activated_by: by }
  const row = before
    ? await tx.updateTable('policy_heads').set(head).where('zone', '=', zone).returningAll().executeTakeFirst()
    : await tx
        .insertInto('policy_heads')
        .values({ zone, ...head })
        .onConflict((conflict) => conflict.doNothing())
        .returningAll()
        .executeTakeFirst()
  if (!row) return refuse('version_moved') // somebody else made the first one
  await tx
    .insertInto('policy_activations')
    .values({ zone, ...head, previous: before?.set_version ?? null })
    .execute()
  return ok(toActivation(row))
}

/** Every activation, newest first; `after` is a generation. */
export async function listActivations(
  db: Queryable,
  zone: ZoneId,
  page: PageRequest,
): Promise<Page<PolicyActivation & { readonly previous: PolicySetVersionId | null }>> {
  const rows = await db
    .selectFrom('policy_activations')
    .selectAll()
    .where('zone', '=', zone)
    .$if(page.after !== undefined, (q) => q.where('generation', '<', Number(page.after)))
    .orderBy('generation', 'desc')
    .limit(page.limit + 1)
    .execute()
  return toPage(
    rows,
    page.limit,
    (row) => String(row.generation),
    (row) => ({ ...toActivation(row), previous: row.previous }),
  )
}
