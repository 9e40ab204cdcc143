import {
  type ApplicationId,
  type BudgetId,
  formatAmount,
  type RequestId,
  type SessionId,
  type UnixMillis,
  type ZoneId,
} from '@caracal/core'
import { type RawBuilder, type Selectable, sql } from 'kysely'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'
import { type Page, type PageRequest, toPage } from './page.ts'
import type { UsageTable } from './tables.ts'

/** What one call cost. `amount` is a decimal of `currency`; "0" without one. */
export type Usage = {
  readonly request: RequestId
  readonly application: ApplicationId
  readonly subject: string | null
  readonly session: SessionId | null
  readonly resource: string
  readonly operation: string | null
  readonly amount: string
  readonly currency: string | null
  /** Those that paid for it. */
  readonly budgets: readonly BudgetId[]
  /** Settled after its provisional charge had expired. */
  readonly late: boolean
  /** When the call was let through: the window that it counts in. */
  readonly at: UnixMillis
  readonly settledAt: UnixMillis
}

/** Usage as it is written: `amount` in millionths. */
export type NewUsage = Omit<Usage, 'amount'> & { readonly amount: bigint }

export type UsageFilter = {
  readonly application?: ApplicationId | undefined
  readonly session?: SessionId | undefined
  readonly subject?: string | undefined
  readonly resource?: string | undefined
  readonly budget?: BudgetId | undefined
  /** From this moment on, and before this one. */
  readonly from?: UnixMillis | undefined
  readonly to?: UnixMillis | undefined
}

export const USAGE_GROUPS = ['application', 'session', 'subject', 'resource', 'operation', 'day', 'hour'] as const
export type UsageGroup = (typeof USAGE_GROUPS)[number]

/** A sum: `key` is the value of the group, null where calls had none; amounts of one currency together. */
export type UsageSum = { readonly key: string | null; readonly currency: string | null; readonly calls: number; readonly amount: string }

export function toUsage(row: Selectable<UsageTable>): Usage {
  const { request, application, subject, session, resource, operation, currency, budgets, late, at } = row
  const amount = formatAmount(BigInt(row.amount))
  return { request, application, subject, session, resource, operation, amount, currency, budgets, late, at, settledAt: row.settled_at }
}

/** The statement that writes what calls cost, in the transaction that settles them: each is settled once. */
export function usageInsert(zone: ZoneId, usage: readonly NewUsage[]): RawBuilder<unknown> {
  const rows = JSON.stringify(
    usage.map(({ amount, at, settledAt, ...rest }) => ({
      ...rest,
      amount: String(amount),
      at: new Date(at).toISOString(),
      settled_at: new Date(settledAt).toISOString(),
    })),
  )
  return sql`
    insert into usage (zone, request, application, subject, session, resource, operation, amount, currency, budgets, late, at, settled_at)
    select ${zone}, u.request, u.application, u.subject, u.session, u.resource, u.operation, u.amount, u.currency, u.budgets, u.late, u.at,
      u.settled_at
    from jsonb_to_recordset(${rows}::jsonb) as u (request text, application text, subject text, session text, resource text,
      operation text, amount numeric, currency text, budgets text[], late boolean, at timestamptz, settled_at timestamptz)`
}

/** Usage of all zones of calls that were let through before this moment; at most so much. */
export async function usageBefore(
  db: Queryable,
  before: UnixMillis,
  most: number,
): Promise<readonly { readonly zone: ZoneId; readonly request: RequestId }[]> {
  const { rows } = await sql<{ zone: ZoneId; request: RequestId }>`
    select zone, request from caracal_usage_before(${timestamp(before)}, ${most})`.execute(db)
  return rows
}

/** Forgets what these requests cost; returns how many there were. */
export async function purgeUsage(tx: Queryable, zone: ZoneId, requests: readonly RequestId[]): Promise<number> {
  const result = await tx
    .deleteFrom('usage')
    .where('zone', '=', zone)
    .where(sql<boolean>`request = any (${requests}::text[])`)
    .executeTakeFirst()
  return Number(result.numDeletedRows)
}

/** Newest first, by request id. */
export async function listUsage(db: Queryable, zone: ZoneId, filter: UsageFilter, page: PageRequest): Promise<Page<Usage>> {
  const rows = await matching(db, zone, filter)
    .selectAll()
    .$if(page.after !== undefined, (q) => q.where('request', '<', page.after as RequestId))
    .orderBy('request', 'desc')
    .limit(page.limit + 1)
    .execute()
  return toPage(rows, page.limit, (row) => row.request, toUsage)
}

const KEYS: Readonly<Record<UsageGroup, RawBuilder<string | null>>> = {
  application: sql`application`,
  session: sql`session`,
  subject: sql`subject`,
  resource: sql`resource`,
  operation: sql`resource || ' ' || coalesce(operation, '')`,
  day: sql`to_char(at at time zone 'UTC', 'YYYY-MM-DD')`,
  hour: sql`to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24":00Z"')`,
}

/** Sums by group and currency, in the order of both. The page goes on after the last pair of them: none is skipped or repeated. */
export async function sumUsage(
  db: Queryable,
  zone: ZoneId,
  by: UsageGroup,
  filter: UsageFilter,
  page: PageRequest,
): Promise<Page<UsageSum>> {
  // Nothing sorts before the first: a group without a value is '', and a value is never empty.
  const key = sql<string>`coalesce(${KEYS[by]}, '') collate "C"`
  const currency = sql<string>`coalesce(currency, '') collate "C"`
  const [afterKey = '', afterCurrency = ''] = page.after === undefined ? [] : (JSON.parse(page.after) as string[])
  const rows = await matching(db, zone, filter)
    .select([key.as('key'), currency.as('money'), sql<number>`count(*)::bigint`.as('calls'), sql<string>`sum(amount)`.as('sum')])
    .$if(page.after !== undefined, (q) => q.where(sql<boolean>`(${key}, ${currency}) > (${afterKey}, ${afterCurrency})`))
    .groupBy([key, currency])
    .orderBy(key)
    .orderBy(currency)
    .limit(page.limit + 1)
    .execute()
  return toPage(
    rows,
    page.limit,
    (row) => JSON.stringify([row.key, row.money]),
    (row) => ({
      key: row.key === '' ? null : row.key,
      currency: row.money === '' ? null : row.money,
      calls: row.calls,
      amount: formatAmount(BigInt(row.sum)),
    }),
  )
}

function matching(db: Queryable, zone: ZoneId, { application, session, subject, resource, budget, from, to }: UsageFilter) {
  let query = db.selectFrom('usage').where('zone', '=', zone)
  if (application !== undefined) query = query.where('application', '=', application)
  if (session !== undefined) query = query.where('session', '=', session)
  if (subject !== undefined) query = query.where('subject', '=', subject)
  if (resource !== undefined) query = query.where('resource', '=', resource)
  if (budget !== undefined) query = query.where(sql<boolean>`${budget} = any (budgets)`)
  if (from !== undefined) query = query.where('at', '>=', timestamp(from))
  if (to !== undefined) query = query.where('at', '<', timestamp(to))
  return query
}
