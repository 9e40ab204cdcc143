import type { Id, Revocation, RevocationKind, UnixMillis, ZoneId } from '@caracal/core'
import { type Selectable, sql } from 'kysely'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'
import { type Page, type PageRequest, toPage } from './page.ts'
import type { RevocationsTable } from './tables.ts'

/** A revocation as it is kept, with who asked for it. */
export type RevocationRecord = {
  readonly id: Id<'revocation'>
  readonly zone: ZoneId
  readonly kind: RevocationKind
  readonly target: string
  readonly at: UnixMillis
  readonly reason: string
  readonly by: string
  readonly lifted: { readonly at: UnixMillis; readonly by: string } | null
}

/**
 * A row is visible when its transaction commits, which is later than the moment it carries. Whoever asks for "since" is
 * therefore given this much more, in milliseconds: no transaction of ours lives longer.
 */
export const REVOCATION_OVERLAP: UnixMillis = 60_000

function toRecord(row: Selectable<RevocationsTable>): RevocationRecord {
  return {
    id: row.id as Id<'revocation'>,
    zone: row.zone,
    kind: row.kind,
    target: row.target,
    at: row.at,
    reason: row.reason,
    by: row.revoked_by,
    lifted: row.lifted_at === null || row.lifted_by === null ? null : { at: row.lifted_at, by: row.lifted_by },
  }
}

/** The message that says what the row says now. */
export function toRevocation(record: RevocationRecord): Revocation {
  const { kind, target, zone, reason, lifted } = record
  return { v: 1, op: lifted ? 'lift' : 'revoke', kind, id: target, zone, at: lifted?.at ?? record.at, reason }
}

/** What is to be revoked, by whom and why. */
export type NewRevocation = Omit<RevocationRecord, 'at' | 'lifted'>

/** Revokes `target`; when it is revoked already gives that revocation and `created` false. */
export async function revoke(
  tx: Queryable,
  revocation: NewRevocation,
  now: UnixMillis,
): Promise<{ readonly record: RevocationRecord; readonly created: boolean }> {
  const [record] = await revokeEach(tx, [revocation], now)
  if (record === undefined) throw new Error('a revocation was not written')
  return { record, created: record.id === revocation.id }
}

/** Revokes every target, each of them once, in one statement. In the order given; what is revoked already stands as it was. */
export async function revokeEach(
  tx: Queryable,
  revocations: readonly NewRevocation[],
  now: UnixMillis,
): Promise<readonly RevocationRecord[]> {
  if (revocations.length === 0) return []
  // `do update` without a change also locks and returns the row that stands.
  const rows = await tx
    .insertInto('revocations')
    .values(
      revocations.map(({ id, zone, kind, target, reason, by }) => ({ id, zone, kind, target, reason, at: timestamp(now), revoked_by: by })),
    )
    .onConflict((conflict) =>
      conflict
        .columns(['zone', 'kind', 'target'])
        .where('lifted_at', 'is', null)
        .doUpdateSet((eb) => ({ reason: eb.ref('revocations.reason') })),
    )
    .returningAll()
    .execute()
  const standing = new Map(rows.map((row) => [`${row.zone} ${row.kind} ${row.target}`, toRecord(row)]))
  return revocations.flatMap(({ zone, kind, target }) => standing.get(`${zone} ${kind} ${target}`) ?? [])
}

/** Lifts the standing revocation of `target`; undefined when there is none. Only suspensions may be lifted: the caller sees to it. */
export async function lift(
  tx: Queryable,
  what: { readonly zone: ZoneId; readonly kind: RevocationKind; readonly target: string; readonly by: string },
  now: UnixMillis,
): Promise<RevocationRecord | undefined> {
  const row = await tx
    .updateTable('revocations')
    .set({ lifted_at: timestamp(now), lifted_by: what.by })
    .where('zone', '=', what.zone)
    .where('kind', '=', what.kind)
    .where('target', '=', what.target)
    .where('lifted_at', 'is', null)
    .returningAll()
    .executeTakeFirst()
  return row && toRecord(row)
}

/**
 * What was revoked or lifted since `since`, oldest first, of every zone unless one is named; a revocation that was lifted shows
 * as the lift. Reaches back `REVOCATION_OVERLAP` further, so asking with the time of the last answer misses nothing.
 */
export async function revocationsSince(db: Queryable, since: UnixMillis, zone?: ZoneId): Promise<readonly Revocation[]> {
  const from = timestamp(Math.max(0, since - REVOCATION_OVERLAP))
  const rows = await db
    .selectFrom('revocations')
    .selectAll()
    .where((eb) => eb.or([eb('at', '>=', from), eb.and([eb('lifted_at', 'is not', null), eb('lifted_at', '>=', from)])]))
    .$if(zone !== undefined, (q) => q.where('zone', '=', zone as ZoneId))
    .orderBy(sql`coalesce(lifted_at, at)`)
    .orderBy('id')
    .execute()
  return rows.map((row) => toRevocation(toRecord(row)))
}

/** The standing revocation of `target`, if any. */
export async function findRevocation(
  db: Queryable,
  zone: ZoneId,
  kind: RevocationKind,
  target: string,
): Promise<RevocationRecord | undefined> {
  const row = await db
    .selectFrom('revocations')
    .selectAll()
    .where('zone', '=', zone)
    .where('kind', '=', kind)
    .where('target', '=', target)
    .where('lifted_at', 'is', null)
    .executeTakeFirst()
  return row && toRecord(row)
}

/** Which of the ids are revoked in these zones, and since when. */
export async function revokedAmong(
  db: Queryable,
  zones: readonly string[],
  kind: RevocationKind,
  ids: readonly string[],
): Promise<ReadonlyMap<string, UnixMillis>> {
  const rows = await db
    .selectFrom('revocations')
    .select(['target', 'at'])
    .where('zone', 'in', zones as readonly ZoneId[])
    .where('kind', '=', kind)
    .where('target', 'in', ids)
    .where('lifted_at', 'is', null)
    .execute()
  return new Map(rows.map(({ target, at }) => [target, at]))
}

/** Newest first, lifted ones included. */
export async function listRevocations(db: Queryable, zone: ZoneId, page: PageRequest): Promise<Page<RevocationRecord>> {
  let query = db.selectFrom('revocations').selectAll().where('zone', '=', zone)
  if (page.after !== undefined) query = query.where('id', '<', page.after)
  const rows = await query
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute()
  return toPage(rows, page.limit, (row) => row.id, toRecord)
}

/** Revoked for as long as nobody lifts it, however long ago: few, and no mandate's life bounds them. */
const STANDING: readonly RevocationKind[] = ['zone', 'application', 'subject', 'connection', 'resource', 'provider']

/** Every revocation in force of a kind that does not pass with the mandates that name it; of every zone unless one is named. */
export async function standingRevocations(query: Queryable, zone?: ZoneId): Promise<readonly Revocation[]> {
  const rows = await query
    .selectFrom('revocations')
    .selectAll()
    .where('kind', 'in', STANDING)
    .where('lifted_at', 'is', null)
    .$if(zone !== undefined, (q) => q.where('zone', '=', zone as ZoneId))
    .execute()
  return rows.map((row) => toRevocation(toRecord(row)))
}
