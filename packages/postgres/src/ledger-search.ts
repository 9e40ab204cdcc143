import type { EventId, UnixMillis, ZoneId } from '@caracal/core'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'
import { type Page, toPage } from './page.ts'

/** One entry: its place in the log and the exact text that was signed and hashed. */
export type LogEntry = { readonly seq: number; readonly id: EventId; readonly leaf: Uint8Array; readonly event: string }

/** All given members must match. Times are those of the events: `from` inclusive, `to` exclusive. */
export type EventFilter = {
  readonly type?: string | undefined
  readonly application?: string | undefined
  readonly session?: string | undefined
  readonly resource?: string | undefined
  readonly decision?: string | undefined
  readonly reason?: string | undefined
  readonly subject?: string | undefined
  readonly jti?: string | undefined
  readonly requestId?: string | undefined
  readonly from?: UnixMillis | undefined
  readonly to?: UnixMillis | undefined
}

const ENTRY = ['seq', 'event_id as id', 'leaf', 'event'] as const

const COLUMNS = {
  type: 'type',
  application: 'application',
  session: 'session',
  resource: 'resource',
  decision: 'decision',
  reason: 'reason',
  subject: 'subject',
  jti: 'jti',
  requestId: 'request_id',
} as const

/** `after` is a sequence number, so pages neither skip nor repeat while the log grows. Newest first unless `order` says otherwise. */
export type EntriesPage = { readonly after?: number | undefined; readonly limit: number; readonly order?: 'asc' | 'desc' }

/** A page of the entries that match, in the order of the log. */
export async function searchEntries(db: Queryable, zone: ZoneId, filter: EventFilter, page: EntriesPage): Promise<Page<LogEntry>> {
  const rows = await entriesQuery(db, zone, filter, page).execute()
  return toPage(
    rows,
    page.limit,
    (row) => String(row.seq),
    (row) => row,
  )
}

/** The statement of `searchEntries`; a test looks at its plan. */
export function entriesQuery(db: Queryable, zone: ZoneId, filter: EventFilter, page: EntriesPage) {
  const { order = 'desc' } = page
  let query = db.selectFrom('log_entries').select(ENTRY).where('zone', '=', zone)
  for (const key of Object.keys(COLUMNS) as (keyof typeof COLUMNS)[]) {
    const value = filter[key]
    if (value !== undefined) query = query.where(COLUMNS[key], '=', value)
  }
  if (filter.from !== undefined) query = query.where('time', '>=', timestamp(filter.from))
  if (filter.to !== undefined) query = query.where('time', '<', timestamp(filter.to))
  if (page.after !== undefined) query = query.where('seq', order === 'asc' ? '>' : '<', page.after)
  return query.orderBy('seq', order).limit(page.limit + 1)
}

export async function findEntry(db: Queryable, zone: ZoneId, id: EventId): Promise<LogEntry | undefined> {
  return await db.selectFrom('log_entries').select(ENTRY).where('zone', '=', zone).where('event_id', '=', id).executeTakeFirst()
}

/** Entries from `from` (inclusive) to `to` (exclusive), ascending: for verification and export, a part at a time. */
export async function readEntries(db: Queryable, zone: ZoneId, from: number, to: number): Promise<readonly LogEntry[]> {
  return await db
    .selectFrom('log_entries')
    .select(ENTRY)
    .where('zone', '=', zone)
    .where('seq', '>=', from)
    .where('seq', '<', to)
    .orderBy('seq')
    .execute()
}
