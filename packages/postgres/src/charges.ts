import type { ApplicationId, BudgetId, RequestId, SessionId, UnixMillis, ZoneId } from '@caracal/core'
import { type RawBuilder, type Selectable, sql } from 'kysely'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'
import type { BudgetsTable } from './tables.ts'
import { type NewUsage, usageInsert } from './usage.ts'

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

export type RequestStanding = 'reserved' | 'expired' | 'settled'

/**
 * How requests stand, and the spans of each budget that begin at `since` or later: what a group of charges is decided with. Each request is
 * looked up by itself: as a set, all usage of the zone is read while the server has no statistics of a table that grows.
 */
export async function readBook(
  tx: Queryable,
  zone: ZoneId,
  which: {
    readonly requests: readonly RequestId[]
    readonly spans: readonly { readonly budget: BudgetId; readonly since: UnixMillis }[]
  },
): Promise<{ readonly standing: ReadonlyMap<RequestId, RequestStanding>; readonly spans: readonly Span[] }> {
  const { requests } = which
  const wanted = JSON.stringify(which.spans.map(({ budget, since }) => ({ budget, since: iso(since) })))
  const { rows } = await sql<{
    key: string
    state: RequestStanding | null
    starts_at: UnixMillis | null
    spent: string | null
    reserved: string | null
  }>`
    select w.request as key, coalesce(u.state, c.state) as state, null::timestamptz as starts_at, null::numeric as spent,
        null::numeric as reserved
      from unnest(${requests}::text[]) as w (request)
      left join lateral (select state from charges where zone = ${zone} and request = w.request limit 1) as c on true
      left join lateral (select 'settled' as state from usage where zone = ${zone} and request = w.request limit 1) as u on true
      where coalesce(u.state, c.state) is not null
    union all select s.budget, null, s.starts_at, s.spent, s.reserved
      from jsonb_to_recordset(${wanted}::jsonb) as w (budget text, since timestamptz)
      join budget_spans as s on s.budget = w.budget and s.starts_at >= w.since where s.zone = ${zone}`.execute(tx)
  const standing = new Map<RequestId, RequestStanding>()
  const spans: Span[] = []
  for (const { key, state, starts_at, spent, reserved } of rows) {
    if (state !== null) standing.set(key as RequestId, state)
    else if (starts_at !== null && spent !== null && reserved !== null)
      spans.push({ budget: key as BudgetId, startsAt: starts_at, spent: BigInt(spent), reserved: BigInt(reserved) })
  }
  return { standing, spans }
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

/** Changes spans that are still there, down as well as up: one that is gone counts no more. */
export async function changeSpans(tx: Queryable, zone: ZoneId, changes: readonly Span[]): Promise<void> {
  if (changes.length > 0) await spanUpdate(zone, changes).execute(tx)
}

/** What a group of charges leaves in the book. `begun`: spans that are not there yet, of budgets that are locked. */
export type BookEntries = {
  readonly changed: readonly Span[]
  readonly begun: readonly Span[]
  readonly charges: readonly Charge[]
  readonly usage: readonly NewUsage[]
}

/** Writes it all in one statement; of requests that are charged none may have a charge already, of those that are settled none usage. */
export async function writeBook(tx: Queryable, zone: ZoneId, { changed, begun, charges, usage }: BookEntries): Promise<void> {
  const writes = [
    ...(changed.length === 0 ? [] : [spanUpdate(zone, changed)]),
    ...(begun.length === 0 ? [] : [spanInsert(zone, begun)]),
    ...(charges.length === 0 ? [] : [chargeInsert(zone, charges)]),
    ...(usage.length === 0 ? [] : [usageInsert(zone, usage)]),
  ]
  if (writes.length === 0) return
  const parts = writes.map((write, at) => sql`${sql.raw(`part_${at}`)} as (${write})`)
  await sql`with ${sql.join(parts)} select 1`.execute(tx)
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

function spanUpdate(zone: ZoneId, changes: readonly Span[]): RawBuilder<unknown> {
  return sql`
    update budget_spans as s set spent = s.spent + c.spent, reserved = s.reserved + c.reserved from ${spanRows(changes)}
    where s.zone = ${zone} and s.budget = c.budget and s.starts_at = c.starts_at`
}

function spanInsert(zone: ZoneId, begun: readonly Span[]): RawBuilder<unknown> {
  return sql`
    insert into budget_spans (zone, budget, starts_at, spent, reserved)
    select ${zone}, c.budget, c.starts_at, c.spent, c.reserved from ${spanRows(begun)}`
}

function chargeInsert(zone: ZoneId, charges: readonly Charge[]): RawBuilder<unknown> {
  const rows = JSON.stringify(
    charges.map(({ request, what, held, amount, currency, reservedAt, expiresAt }) => ({
      request,
      what,
      held: held.map((part) => ({ ...part, amount: String(part.amount) })),
      amount: String(amount),
      currency,
      reserved_at: iso(reservedAt),
      expires_at: iso(expiresAt),
    })),
  )
  return sql`
    insert into charges (zone, request, state, what, held, amount, currency, reserved_at, expires_at)
    select ${zone}, request, 'reserved', what, held, amount, currency, reserved_at, expires_at
    from jsonb_to_recordset(${rows}::jsonb) as c (request text, what jsonb, held jsonb, amount numeric, currency text,
      reserved_at timestamptz, expires_at timestamptz)`
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
