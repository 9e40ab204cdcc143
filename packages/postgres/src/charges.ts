import type { ApplicationId, BudgetId, RequestId, SessionId, UnixMillis, ZoneId } from '@caracal/core'
import { type Selectable, sql } from 'kysely'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'
import type { BudgetsTable } from './tables.ts'

/** What a charge is for, as its usage will say. */
export type ChargedCall = {
  readonly application: ApplicationId
  readonly subject: string | null
  readonly session: SessionId | null
  /** Identifier of the resource. */
  readonly resource: string
  /** Method and path template; null where the resource declares no operations. */
  readonly operation: string | null
}

/** What a charge took of one span: millionths of a unit of `money`, or calls. */
export type HeldPart = { readonly budget: BudgetId; readonly startsAt: UnixMillis; readonly amount: bigint; readonly money: boolean }

/** A provisional charge. `amount` in millionths of `currency`; zero without one: it counts as a call only. */
export type Charge = {
  readonly zone: ZoneId
  readonly request: RequestId
  readonly what: ChargedCall
  readonly held: readonly HeldPart[]
  readonly amount: bigint
  readonly currency: string | null
  readonly reservedAt: UnixMillis
  readonly expiresAt: UnixMillis
}

/** The balance of one span of a budget. */
export type Span = { readonly budget: BudgetId; readonly startsAt: UnixMillis; readonly spent: bigint; readonly reserved: bigint }

/** A budget's row as it is locked: archived ones too, for what was charged to them before. */
export type LockedBudget = Selectable<BudgetsTable>

/** The budgets of these holders and these by id, in the order of their ids, locked until the transaction ends (P-045). */
export async function lockBudgets(
  tx: Queryable,
  zone: ZoneId,
  which: { readonly holders: readonly string[]; readonly ids: readonly BudgetId[] },
): Promise<readonly LockedBudget[]> {
  if (which.holders.length + which.ids.length === 0) return []
  const { rows } = await sql<LockedBudget>`
    select * from caracal_lock_budgets(${zone}, ${which.holders}::text[], ${which.ids}::text[])`.execute(tx)
  return rows
}

/** The spans of each budget that begin at `since` or later. */
export async function readSpans(
  db: Queryable,
  zone: ZoneId,
  which: readonly { readonly budget: BudgetId; readonly since: UnixMillis }[],
): Promise<readonly Span[]> {
  if (which.length === 0) return []
  const wanted = JSON.stringify(which.map(({ budget, since }) => ({ budget, since: iso(since) })))
  const { rows } = await sql<{ budget: BudgetId; starts_at: UnixMillis; spent: string; reserved: string }>`
    select s.budget, s.starts_at, s.spent, s.reserved
    from jsonb_to_recordset(${wanted}::jsonb) as w (budget text, since timestamptz)
    join budget_spans as s on s.budget = w.budget and s.starts_at >= w.since
    where s.zone = ${zone} order by s.budget, s.starts_at`.execute(db)
  return rows.map((row) => ({ budget: row.budget, startsAt: row.starts_at, spent: BigInt(row.spent), reserved: BigInt(row.reserved) }))
}

/** Adds to spans, and makes those that are not there. For what takes. */
export async function addToSpans(tx: Queryable, zone: ZoneId, changes: readonly Span[]): Promise<void> {
  if (changes.length === 0) return
  await sql`
    insert into budget_spans as s (zone, budget, starts_at, spent, reserved)
    select ${zone}, c.budget, c.starts_at, c.spent, c.reserved from ${spanRows(changes)}
    on conflict (budget, starts_at) do update set spent = s.spent + excluded.spent, reserved = s.reserved + excluded.reserved`.execute(tx)
}

/** Changes spans that are still there, down as well as up. For what gives back: a span that is gone counts no more. */
export async function changeSpans(tx: Queryable, zone: ZoneId, changes: readonly Span[]): Promise<void> {
  if (changes.length === 0) return
  await sql`
    update budget_spans as s set spent = s.spent + c.spent, reserved = s.reserved + c.reserved from ${spanRows(changes)}
    where s.zone = ${zone} and s.budget = c.budget and s.starts_at = c.starts_at`.execute(tx)
}

/** Forgets spans of each budget that begin before `since`: they are over. */
export async function forgetSpans(
  tx: Queryable,
  zone: ZoneId,
  which: readonly { readonly budget: BudgetId; readonly since: UnixMillis }[],
): Promise<void> {
  if (which.length === 0) return
  const wanted = JSON.stringify(which.map(({ budget, since }) => ({ budget, since: iso(since) })))
  await sql`
    delete from budget_spans as s using jsonb_to_recordset(${wanted}::jsonb) as w (budget text, since timestamptz)
    where s.zone = ${zone} and s.budget = w.budget and s.starts_at < w.since`.execute(tx)
}

/** How requests of these ids stand: still charged, or settled. Others are not in it. */
export async function standingOf(
  db: Queryable,
  zone: ZoneId,
  requests: readonly RequestId[],
): Promise<ReadonlyMap<RequestId, 'reserved' | 'expired' | 'settled'>> {
  if (requests.length === 0) return new Map()
  const { rows } = await sql<{ request: RequestId; state: 'reserved' | 'expired' | 'settled' }>`
    select request, state from charges where zone = ${zone} and request = any (${requests}::text[])
    union all select request, 'settled' from usage where zone = ${zone} and request = any (${requests}::text[])`.execute(db)
  return new Map(rows.map(({ request, state }) => [request, state]))
}

/** Writes provisional charges; none of these requests may have one. */
export async function insertCharges(tx: Queryable, charges: readonly Charge[]): Promise<void> {
  if (charges.length === 0) return
  const rows = JSON.stringify(
    charges.map(({ zone, request, what, held, amount, currency, reservedAt, expiresAt }) => ({
      zone,
      request,
      what,
      held: held.map((part) => ({ ...part, amount: String(part.amount) })),
      amount: String(amount),
      currency,
      reserved_at: iso(reservedAt),
      expires_at: iso(expiresAt),
    })),
  )
  await sql`
    insert into charges (zone, request, state, what, held, amount, currency, reserved_at, expires_at)
    select zone, request, 'reserved', what, held, amount, currency, reserved_at, expires_at
    from jsonb_to_recordset(${rows}::jsonb) as c (zone text, request text, what jsonb, held jsonb, amount numeric, currency text,
      reserved_at timestamptz, expires_at timestamptz)`.execute(tx)
}

type ChargeRow = {
  request: RequestId
  state: 'reserved' | 'expired'
  what: ChargedCall
  held: readonly (Omit<HeldPart, 'amount'> & { readonly amount: string })[]
  amount: string
  currency: string | null
  reserved_at: UnixMillis
  expires_at: UnixMillis
}

/** Takes the charges of these requests out of the book: whoever gets one is the only one who does. */
export async function takeCharges(
  tx: Queryable,
  zone: ZoneId,
  requests: readonly RequestId[],
): Promise<readonly (Charge & { readonly expired: boolean })[]> {
  if (requests.length === 0) return []
  // Locked in one order: of two who settle the same requests none waits for the other crosswise.
  const { rows } = await sql<ChargeRow>`
    with taken as (select request from charges where zone = ${zone} and request = any (${requests}::text[]) order by request for update)
    delete from charges as c using taken where c.zone = ${zone} and c.request = taken.request
    returning c.request, c.state, c.what, c.held, c.amount, c.currency, c.reserved_at, c.expires_at`.execute(tx)
  return rows.map((row) => ({ ...chargeOf(zone, row), expired: row.state === 'expired' }))
}

/** Marks those of the charges expired that have not been settled in time; they hold nothing any more. Returns them. */
export async function expireCharges(
  tx: Queryable,
  zone: ZoneId,
  requests: readonly RequestId[],
  now: UnixMillis,
): Promise<readonly Charge[]> {
  const { rows } = await sql<ChargeRow>`
    with due as (
      select request from charges where zone = ${zone} and request = any (${requests}::text[]) and state = 'reserved'
        and expires_at <= ${timestamp(now)} order by request for update)
    update charges as c set state = 'expired' from due where c.zone = ${zone} and c.request = due.request
    returning c.request, c.state, c.what, c.held, c.amount, c.currency, c.reserved_at, c.expires_at`.execute(tx)
  return rows.map((row) => chargeOf(zone, row))
}

/** Forgets expired charges that nobody settled; returns how many. */
export async function forgetCharges(tx: Queryable, zone: ZoneId, requests: readonly RequestId[]): Promise<number> {
  const result = await tx
    .deleteFrom('charges')
    .where('zone', '=', zone)
    .where('state', '=', 'expired')
    .where(sql<boolean>`request = any (${requests}::text[])`)
    .executeTakeFirst()
  return Number(result.numDeletedRows)
}

export type DueCharge = { readonly zone: ZoneId; readonly request: RequestId; readonly state: 'reserved' | 'expired' }

/** Charges of all zones that ran out by `now`, and expired ones that did before `longAgo`; at most so many of each. */
export async function chargesDue(db: Queryable, now: UnixMillis, longAgo: UnixMillis, most: number): Promise<readonly DueCharge[]> {
  const { rows } = await sql<DueCharge>`
    select zone, request, state from caracal_charges_due(${timestamp(now)}, ${timestamp(longAgo)}, ${most})`.execute(db)
  return rows
}

function chargeOf(zone: ZoneId, row: ChargeRow): Charge {
  return {
    zone,
    request: row.request,
    what: row.what,
    held: row.held.map((part) => ({ ...part, amount: BigInt(part.amount) })),
    amount: BigInt(row.amount),
    currency: row.currency,
    reservedAt: row.reserved_at,
    expiresAt: row.expires_at,
  }
}

function spanRows(changes: readonly Span[]) {
  const rows = JSON.stringify(
    changes.map(({ budget, startsAt, spent, reserved }) => ({
      budget,
      starts_at: iso(startsAt),
      spent: String(spent),
      reserved: String(reserved),
    })),
  )
  return sql`jsonb_to_recordset(${rows}::jsonb) as c (budget text, starts_at timestamptz, spent numeric, reserved numeric)`
}

/** Spans begin at whole seconds, charges at milliseconds. */
function iso(ms: UnixMillis): string {
  return new Date(ms).toISOString()
}
