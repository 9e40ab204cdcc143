import type { BudgetId, UnixMillis, ZoneId } from '@caracal/core'
import { sql } from 'kysely'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'

/** What an enforcement point holds of a budget: millionths of its currency's unit, or calls. */
export type BudgetSlice = {
  readonly budget: BudgetId
  /** The enforcement point, by the name that it gave itself. */
  readonly point: string
  readonly amount: bigint
  /** Of what the point asked the last that was heard. */
  readonly turn: number
  /** Nothing is spent of it after this moment. */
  readonly expiresAt: UnixMillis
  /** Who has not said by then what was spent is not waited for any more. */
  readonly lostAt: UnixMillis
}

type SliceKey = Pick<BudgetSlice, 'budget' | 'point'>

/** The slices of these points. Their budgets are locked: nobody else changes them. */
export async function readSlices(tx: Queryable, zone: ZoneId, which: readonly SliceKey[]): Promise<readonly BudgetSlice[]> {
  if (which.length === 0) return []
  const { rows } = await sql<{
    budget: BudgetId
    point: string
    amount: string
    turn: number
    expires_at: UnixMillis
    lost_at: UnixMillis
  }>`
    select s.budget, s.point, s.amount, s.turn, s.expires_at, s.lost_at
    from budget_slices as s join jsonb_to_recordset(${keys(which)}::jsonb) as w (budget text, point text)
      on s.budget = w.budget and s.point = w.point
    where s.zone = ${zone}`.execute(tx)
  return rows.map(({ budget, point, amount, turn, expires_at, lost_at }) => ({
    budget,
    point,
    amount: BigInt(amount),
    turn,
    expiresAt: expires_at,
    lostAt: lost_at,
  }))
}

/** Puts these slices in the place of what was there of the same points and budgets. Their budgets are locked. */
export async function writeSlices(tx: Queryable, zone: ZoneId, slices: readonly BudgetSlice[]): Promise<void> {
  if (slices.length === 0) return
  const rows = JSON.stringify(
    slices.map(({ budget, point, amount, turn, expiresAt, lostAt }) => ({
      budget,
      point,
      amount: String(amount),
      turn,
      expires_at: new Date(expiresAt).toISOString(),
      lost_at: new Date(lostAt).toISOString(),
    })),
  )
  await sql`
    insert into budget_slices as s (zone, budget, point, amount, turn, expires_at, lost_at)
    select ${zone}, n.budget, n.point, n.amount, n.turn, n.expires_at, n.lost_at
    from jsonb_to_recordset(${rows}::jsonb) as n (budget text, point text, amount numeric, turn bigint, expires_at timestamptz, lost_at timestamptz)
    on conflict (budget, point) do update
      set amount = excluded.amount, turn = excluded.turn, expires_at = excluded.expires_at, lost_at = excluded.lost_at`.execute(tx)
}

/** Forgets these slices. */
export async function removeSlices(tx: Queryable, zone: ZoneId, which: readonly SliceKey[]): Promise<void> {
  if (which.length === 0) return
  await sql`
    delete from budget_slices as s using jsonb_to_recordset(${keys(which)}::jsonb) as w (budget text, point text)
    where s.zone = ${zone} and s.budget = w.budget and s.point = w.point`.execute(tx)
}

/** Slices of all zones whose holder is not waited for any more; at most so many. */
export async function slicesLost(db: Queryable, now: UnixMillis, most: number): Promise<readonly (SliceKey & { readonly zone: ZoneId })[]> {
  const { rows } = await sql<SliceKey & { zone: ZoneId }>`
    select zone, budget, point from caracal_slices_lost(${timestamp(now)}, ${most})`.execute(db)
  return rows
}

function keys(which: readonly SliceKey[]): string {
  return JSON.stringify(which.map(({ budget, point }) => ({ budget, point })))
}
