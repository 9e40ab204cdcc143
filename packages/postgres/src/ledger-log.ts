import type { Event, EventId, UnixMillis, ZoneId } from '@caracal/core'
import { sql } from 'kysely'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'

/** The head of a zone's log: how many entries, the tree's root, and what is needed to extend it. */
export type LogHead = { readonly zone: ZoneId; readonly size: number; readonly root: Uint8Array; readonly frontier: Uint8Array }

/** What is appended: the event, the exact bytes it came as, and their leaf hash. */
export type NewLogEntry = { readonly event: Event; readonly text: string; readonly leaf: Uint8Array }

/** Hashes to write at `offset` (in hashes) of a tile. What stood there from `offset` on is replaced. */
export type TileWrite = { readonly level: number; readonly index: number; readonly offset: number; readonly hashes: Uint8Array }

/**
 * The zone's head, locked: until the transaction ends this is the zone's one sequencer, and other zones do not wait (P-134).
 * `empty` is the root of the empty tree, for a log that begins here.
 */
export async function lockLogHead(tx: Queryable, zone: ZoneId, empty: Uint8Array, now: UnixMillis): Promise<LogHead> {
  const locked = await headOf(tx, zone).forUpdate().executeTakeFirst()
  if (locked) return locked
  await tx
    .insertInto('log_heads')
    .values({ zone, root: empty, frontier: new Uint8Array(0), updated_at: timestamp(now) })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
  return await headOf(tx, zone).forUpdate().executeTakeFirstOrThrow()
}

export async function findLogHead(db: Queryable, zone: ZoneId): Promise<LogHead | undefined> {
  return await headOf(db, zone).executeTakeFirst()
}

/** Every log there is. */
export async function listLogHeads(db: Queryable): Promise<readonly LogHead[]> {
  return await db.selectFrom('log_heads').select(['zone', 'size', 'root', 'frontier']).orderBy('zone').execute()
}

/** Leaf hashes of those events that the log has already: same id and same leaf is a duplicate, same id and another leaf is a forgery. */
export async function knownLeaves(db: Queryable, zone: ZoneId, ids: readonly EventId[]): Promise<ReadonlyMap<EventId, Uint8Array>> {
  if (ids.length === 0) return new Map()
  const { rows } = await sql<{ event_id: EventId; leaf: Uint8Array }>`
    select event_id, leaf from log_entries where zone = ${zone} and event_id = any (${ids}::text[])`.execute(db)
  return new Map(rows.map((row) => [row.event_id, row.leaf]))
}

/**
 * `lockLogHead` and `knownLeaves` in one round trip, as long as nobody else appended while this one waited for the lock: then what
 * the statement saw of the entries is older than the head, and they are read again.
 */
export async function lockLogFor(
  tx: Queryable,
  zone: ZoneId,
  ids: readonly EventId[],
  empty: Uint8Array,
  now: UnixMillis,
): Promise<{ readonly head: LogHead; readonly known: ReadonlyMap<EventId, Uint8Array> }> {
  const { rows } = await sql<LogHead & { readonly seen: number; readonly known: string }>`
    select zone, size, root, frontier, (select seen.size from log_heads seen where seen.zone = ${zone}) as seen, (
      select coalesce(json_object_agg(event_id, encode(leaf, 'hex')), '{}')::text from log_entries
      where log_entries.zone = ${zone} and event_id = any (${ids}::text[])
    ) as known
    from log_heads where zone = ${zone} for update`.execute(tx)
  const [row] = rows
  if (row === undefined || row.seen !== row.size) {
    return { head: await lockLogHead(tx, zone, empty, now), known: await knownLeaves(tx, zone, ids) }
  }
  const { seen: _, known, ...head } = row
  const leaves = Object.entries(JSON.parse(known) as Record<EventId, string>) as [EventId, string][]
  return { head, known: new Map(leaves.map(([id, leaf]) => [id, new Uint8Array(Buffer.from(leaf, 'hex'))])) }
}

/** Appends entries from sequence number `from` on, in one statement. The caller holds the head's lock and `from` is its size. */
export async function appendEntries(tx: Queryable, zone: ZoneId, from: number, entries: readonly NewLogEntry[]): Promise<void> {
  if (entries.length > 0) await insertOfEntries(zone, from, entries).execute(tx)
}

function insertOfEntries(zone: ZoneId, from: number, entries: readonly NewLogEntry[]) {
  const column = <T>(read: (entry: NewLogEntry) => T) => entries.map(read)
  return sql`
    insert into log_entries
      (zone, seq, event_id, type, time, application, session, resource, decision, reason, request_id, subject, jti, leaf, event)
    select ${zone}, ${from}::bigint + n - 1, id, type, time, application, session, resource, decision, reason, request, subject, jti,
      decode(leaf, 'hex'), event
    from unnest(
      ${column((e) => e.event.id)}::text[],
      ${column((e) => e.event.type)}::text[],
      ${column((e) => e.event.time)}::timestamptz[],
      ${column((e) => e.event.actor?.application ?? null)}::text[],
      ${column((e) => e.event.actor?.sessions?.at(-1) ?? null)}::text[],
      ${column((e) => e.event.resource ?? null)}::text[],
      ${column((e) => e.event.decision ?? null)}::text[],
      ${column((e) => e.event.reason ?? null)}::text[],
      ${column((e) => e.event.request_id ?? null)}::text[],
      ${column((e) => e.event.actor?.subject ?? null)}::text[],
      ${column((e) => e.event.mandate?.jti ?? null)}::text[],
      ${column((e) => Buffer.from(e.leaf).toString('hex'))}::text[],
      ${column((e) => e.text)}::text[]
    ) with ordinality as entry (id, type, time, application, session, resource, decision, reason, request, subject, jti, leaf, event, n)`
}

/** Writes what an append added to the tiles, in one statement; each tile at most once. */
export async function writeTiles(tx: Queryable, zone: ZoneId, tiles: readonly TileWrite[]): Promise<void> {
  if (tiles.length === 0) return
  const { rows } = await upsertOfTiles(zone, tiles).execute(tx)
  if (rows.length !== tiles.length) throw new Error('a tile was not written')
}

function upsertOfTiles(zone: ZoneId, tiles: readonly TileWrite[]) {
  const column = <T>(read: (tile: TileWrite) => T) => tiles.map(read)
  return sql`
    insert into log_tiles as stored (zone, level, tile, hashes)
    select ${zone}, level, tile, decode(hashes, 'hex') from unnest(
      ${column((t) => t.level)}::smallint[], ${column((t) => t.index)}::bigint[],
      ${column((t) => Buffer.from(t.hashes).toString('hex'))}::text[]) as slice (level, tile, hashes)
    on conflict (zone, level, tile) do update set hashes = substring(stored.hashes from 1 for 32 * (
      select "offset" from unnest(${column((t) => t.level)}::smallint[], ${column((t) => t.index)}::bigint[],
        ${column((t) => t.offset)}::int[]) as place (level, tile, "offset")
      where place.level = excluded.level and place.tile = excluded.tile)) || excluded.hashes
    returning 1`
}

/**
 * One round trip for a batch: entries, tiles and head together. The caller holds the head's lock, `before` is its size and the
 * sequence number of the first entry. Throws unless the log still has that size and every tile was written.
 */
export async function extendLog(
  tx: Queryable,
  before: number,
  batch: { readonly entries: readonly NewLogEntry[]; readonly tiles: readonly TileWrite[]; readonly head: LogHead },
  now: UnixMillis,
): Promise<void> {
  const { entries, tiles, head } = batch
  const { rows } = await sql<{ heads: number; tiles: number }>`
    with entries as (${insertOfEntries(head.zone, before, entries)}), tiles as (${upsertOfTiles(head.zone, tiles)}), head as (
      update log_heads set size = ${head.size}, root = ${head.root}, frontier = ${head.frontier}, updated_at = ${timestamp(now)}
      where zone = ${head.zone} and size = ${before} returning 1
    )
    select (select count(*) from head) as heads, (select count(*) from tiles) as tiles`.execute(tx)
  if (rows[0]?.heads !== 1) throw new Error(`the head of ${head.zone} moved under its lock`)
  if (rows[0].tiles !== tiles.length) throw new Error('a tile was not written')
}

/** The stored hashes of a tile, full or partial; undefined when there is none. */
export async function readTile(db: Queryable, zone: ZoneId, level: number, index: number): Promise<Uint8Array | undefined> {
  const row = await db
    .selectFrom('log_tiles')
    .select('hashes')
    .where('zone', '=', zone)
    .where('level', '=', level)
    .where('tile', '=', index)
    .executeTakeFirst()
  return row?.hashes
}

/** Writes the head after an append. Throws unless the log still has the size it had under the lock. */
export async function writeLogHead(tx: Queryable, before: number, head: LogHead, now: UnixMillis): Promise<void> {
  const row = await tx
    .updateTable('log_heads')
    .set({ size: head.size, root: head.root, frontier: head.frontier, updated_at: timestamp(now) })
    .where('zone', '=', head.zone)
    .where('size', '=', before)
    .returning('zone')
    .executeTakeFirst()
  if (!row) throw new Error(`the head of ${head.zone} moved under its lock`)
}

function headOf(db: Queryable, zone: ZoneId) {
  return db.selectFrom('log_heads').select(['zone', 'size', 'root', 'frontier']).where('zone', '=', zone)
}
