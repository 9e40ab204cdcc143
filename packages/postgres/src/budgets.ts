import {
  type Budget,
  type BudgetHolder,
  type BudgetId,
  type BudgetLimit,
  type BudgetPeriod,
  formatAmount,
  type HeldBudget,
  ok,
  parseAmount,
  type Result,
  refuse,
  type Stored,
  type UnixMillis,
  type ZoneId,
} from '@caracal/core'
import type { Selectable } from 'kysely'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'
import { type Page, type PageRequest, toPage } from './page.ts'
import type { BudgetsTable } from './tables.ts'
import { archiveRow, type ChangeReason, isFree, storedOf, whyUnchanged } from './versioned-row.ts'

type BudgetAt = { readonly zone: ZoneId; readonly id: BudgetId; readonly version: number }

export type BudgetFields = Pick<Budget, 'name' | 'holder' | 'limit'> & {
  readonly window: Budget['window']
  readonly per: BudgetPeriod | null
}

export function toBudget(row: Selectable<BudgetsTable>): Budget {
  const common: Stored & Pick<Budget, 'id' | 'zone' | 'name' | 'holder' | 'limit'> = {
    id: row.id,
    zone: row.zone,
    name: row.name,
    holder: row.holder,
    limit: limitOf(row),
    ...storedOf(row),
  }
  if (row.span === 'total') return { ...common, window: 'total', per: null }
  if (row.per === null) throw new Error(`budget ${row.id} has a window and no period`)
  return { ...common, window: row.span, per: row.per }
}

/** Only whom it concerns. */
export function toHeldBudget({ id, holder, currency }: Pick<Selectable<BudgetsTable>, 'id' | 'holder' | 'currency'>): HeldBudget {
  return { id, holder, currency }
}

function limitOf({ most, currency }: Pick<Selectable<BudgetsTable>, 'most' | 'currency'>): BudgetLimit {
  return currency === null ? { calls: Number(most) } : { amount: formatAmount(BigInt(most)), currency }
}

function columns({ name, holder, limit, window, per }: BudgetFields) {
  return { name, holder, span: window, per, ...('calls' in limit ? { most: String(limit.calls), currency: null } : moneyOf(limit)) }
}

function moneyOf({ amount, currency }: Exclude<BudgetLimit, { calls: number }>) {
  const micros = parseAmount(amount)
  if (micros === undefined) throw new RangeError(`not an amount: ${amount}`)
  return { most: String(micros), currency }
}

/** Refuses `conflict` when the name is taken in the zone. Throws when the limit is no amount: it was checked before. */
export async function createBudget(
  db: Queryable,
  budget: BudgetFields & { readonly id: BudgetId; readonly zone: ZoneId },
  now: UnixMillis,
): Promise<Result<Budget, 'conflict'>> {
  const row = await db
    .insertInto('budgets')
    .values({ id: budget.id, zone: budget.zone, ...columns(budget), created_at: timestamp(now), updated_at: timestamp(now) })
    .onConflict((conflict) => conflict.doNothing())
    .returningAll()
    .executeTakeFirst()
  return row ? ok(toBudget(row)) : refuse('conflict', 'the name is taken')
}

export async function findBudget(db: Queryable, zone: ZoneId, id: BudgetId): Promise<Budget | undefined> {
  const row = await live(db, zone).where('id', '=', id).executeTakeFirst()
  return row && toBudget(row)
}

export async function findBudgetByName(db: Queryable, zone: ZoneId, name: string): Promise<Budget | undefined> {
  const row = await live(db, zone).where('name', '=', name).executeTakeFirst()
  return row && toBudget(row)
}

/** Oldest first; of one holder where one is named. */
export async function listBudgets(
  db: Queryable,
  zone: ZoneId,
  page: PageRequest,
  filter: { readonly holder?: BudgetHolder | undefined } = {},
): Promise<Page<Budget>> {
  const { holder } = filter
  const rows = await live(db, zone)
    .$if(holder !== undefined, (q) => q.where('holder', '=', holder as BudgetHolder))
    .where('id', '>', (page.after ?? '') as BudgetId)
    .orderBy('id')
    .limit(page.limit + 1)
    .execute()
  return toPage(rows, page.limit, (row) => row.id, toBudget)
}

/**
 * Replaces all fields if the row still has its version. What was spent stays spent: another limit counts from the next call on, also
 * one below it.
 */
export async function updateBudget(
  db: Queryable,
  at: BudgetAt,
  fields: BudgetFields,
  now: UnixMillis,
): Promise<Result<Budget, ChangeReason>> {
  const row = await db
    .updateTable('budgets')
    .set((eb) => ({ ...columns(fields), version: eb('version', '+', 1), updated_at: timestamp(now) }))
    .where('zone', '=', at.zone)
    .where('id', '=', at.id)
    .where('version', '=', at.version)
    .where('archived_at', 'is', null)
    .where(isFree('budgets', 'name', fields.name, at))
    .returningAll()
    .executeTakeFirst()
  return row ? ok(toBudget(row)) : await whyUnchanged(db, 'budgets', at)
}

/** Archives the budget if it still has its version; its name is free again, and what calls cost stays in the usage. */
export function archiveBudget(db: Queryable, at: BudgetAt, now: UnixMillis): Promise<Result<undefined, 'not_found' | 'version_moved'>> {
  return archiveRow(db, 'budgets', at, now)
}

function live(db: Queryable, zone: ZoneId) {
  return db.selectFrom('budgets').selectAll().where('zone', '=', zone).where('archived_at', 'is', null)
}
