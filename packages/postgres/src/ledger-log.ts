import type { EventId, UnixMillis, ZoneId } from '@caracal/core'
import { sql } from 'kysely'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'
import { type BlockDraft, draftBlocks, idOfText, type NewLogEntry, openBlock, type StoredBlock, textAt } from './ledger-block.ts'
import { bucketOf, markOfId, millisOfId } from './ledger-ids.ts'
import { spanOf, termArray, termOf } from './ledger-terms.ts'

/** The head of a zone's log: how many entries, the tree's root, and what is needed to extend it. */
export type LogHead = { readonly zone: ZoneId; readonly size: number; readonly root: Uint8Array; readonly frontier: Uint8Array }

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

/**
 * Texts of those events that the log has already: same id and same text is a duplicate, same id and another text is a forgery.
 * An id says when it was made, so only blocks of that time are asked, and opened only when four bytes of the id are the same.
 */
export async function knownTexts(db: Queryable, zone: ZoneId, ids: readonly EventId[]): Promise<ReadonlyMap<EventId, string>> {
  if (ids.length === 0) return new Map()
  const { rows } = await sql<{ readonly near: Uint8Array | null }>`select ${marksNear(zone, ids)} as near`.execute(db)
  return await textsOf(db, zone, ids, rows[0]?.near ?? null)
}

/**
 * `lockLogHead` and `knownTexts` in one round trip, as long as no id seems to be there and nobody else appended while this one waited
 * for the lock: then what the statement saw of the blocks is older than the head, and they are read again.
 */
export async function lockLogFor(
  tx: Queryable,
  zone: ZoneId,
  ids: readonly EventId[],
  empty: Uint8Array,
  now: UnixMillis,
): Promise<{ readonly head: LogHead; readonly known: ReadonlyMap<EventId, string> }> {
  const { rows } = await sql<LogHead & { readonly seen: number; readonly near: Uint8Array | null }>`
    select zone, size, root, frontier, (select seen.size from log_heads seen where seen.zone = ${zone}) as seen, ${marksNear(zone, ids)} as near
    from log_heads where zone = ${zone} for update`.execute(tx)
  const [row] = rows
  if (row === undefined || row.seen !== row.size) {
    return { head: await lockLogHead(tx, zone, empty, now), known: await knownTexts(tx, zone, ids) }
  }
  const { seen: _, near, ...head } = row
  return { head, known: await textsOf(tx, zone, ids, near) }
}

/**
 * The same without the lock, of one moment: what it says holds as long as the head has this size, which `extendLog` sees to.
 * Undefined when the zone has no log yet.
 */
export async function readLogFor(
  db: Queryable,
  zone: ZoneId,
  ids: readonly EventId[],
): Promise<{ readonly head: LogHead; readonly known: ReadonlyMap<EventId, string> } | undefined> {
  const { rows } = await sql<LogHead & { readonly near: Uint8Array | null }>`
    select zone, size, root, frontier, ${marksNear(zone, ids)} as near from log_heads where zone = ${zone}`.execute(db)
  const [row] = rows
  if (row === undefined) return undefined
  const { near, ...head } = row
  return { head, known: await textsOf(db, zone, ids, near) }
}

/** Blocks of the time in which these ids were made: of each its number, its count, and the marks of its events. */
function marksNear(zone: ZoneId, ids: readonly EventId[]) {
  const millis = ids.map(millisOfId)
  const buckets = [...new Set(millis.map(bucketOf))]
  const first = millis.reduce((least, one) => Math.min(least, one), Number.MAX_SAFE_INTEGER)
  const last = millis.reduce((most, one) => Math.max(most, one), 0)
  return sql`(
    select string_agg(int8send(first_seq) || int4send(count) || event_ids, '') from log_blocks
    where zone = ${zone} and bucket = any (${buckets}::bigint[]) and ids_from <= ${last} and ids_to >= ${first})`
}

async function textsOf(
  db: Queryable,
  zone: ZoneId,
  ids: readonly EventId[],
  near: Uint8Array | null,
): Promise<ReadonlyMap<EventId, string>> {
  const texts = new Map<EventId, string>()
  if (near === null || near.length === 0) return texts
  const wanted = new Set(ids.map(markOfId))
  const hits = new Map<number, number[]>()
  const view = new DataView(near.buffer, near.byteOffset, near.byteLength)
  for (let at = 0; at < near.length; ) {
    const firstSeq = Number(view.getBigInt64(at))
    const count = view.getInt32(at + 8)
    const places: number[] = []
    for (let i = 0; i < count; i += 1) if (wanted.has(view.getUint32(at + 12 + 4 * i))) places.push(i)
    if (places.length > 0) hits.set(firstSeq, places)
    at += 12 + 4 * count
  }
  const asked = new Set<string>(ids)
  for (const block of await readBlocks(db, zone, [...hits.keys()])) {
    const opened = openBlock(block)
    for (const place of hits.get(block.first_seq) ?? []) {
      const text = textAt(opened, place)
      const id = idOfText(text)
      if (id !== '' && asked.has(id)) texts.set(id, text)
    }
  }
  return texts
}

/** Whole blocks, by the number of their first entries; ascending. */
export async function readBlocks(db: Queryable, zone: ZoneId, firstSeqs: readonly number[]): Promise<readonly StoredBlock[]> {
  if (firstSeqs.length === 0) return []
  return await db
    .selectFrom('log_blocks')
    .select(['first_seq', 'count', 'codec', 'data'])
    .where('zone', '=', zone)
    .where('first_seq', 'in', firstSeqs)
    .orderBy('first_seq')
    .execute()
}

/** Appends entries from sequence number `from` on, in one statement. The caller holds the head's lock and `from` is its size. */
export async function appendEntries(
  tx: Queryable,
  zone: ZoneId,
  from: number,
  entries: readonly NewLogEntry[],
  now: UnixMillis,
): Promise<void> {
  if (entries.length > 0) await insertOfBlocks(zone, from, draftBlocks(zone, entries), now).execute(tx)
}

/** Most blocks of one statement, which takes 65,535 parameters. */
const MOST_BLOCKS = 1_000

function insertOfBlocks(zone: ZoneId, from: number, blocks: readonly BlockDraft[], now: UnixMillis) {
  let next = from
  const rows = blocks.map((block) => {
    const firstSeq = next
    next += block.entries.length
    const span = spanOf(firstSeq)
    const terms = termArray([...block.keys.map((key) => termOf(span, key)), ...block.farIds])
    return sql`(${zone}, ${firstSeq}::bigint, ${block.entries.length}::integer, ${block.fromTime}::timestamptz, ${block.toTime}::timestamptz,
      ${timestamp(now)}, ${block.bucket}::bigint, ${block.idsFrom}::bigint, ${block.idsTo}::bigint, ${block.codec}::smallint,
      ${terms}::bigint[], ${block.eventIds}::bytea, ${block.otherIds}::bytea, ${block.data}::bytea)`
  })
  return sql`
    insert into log_blocks (zone, first_seq, count, from_time, to_time, appended_at, bucket, ids_from, ids_to, codec, terms, event_ids,
      other_ids, data)
    values ${sql.join(rows)}`
}

/** Writes what an append added to the tiles, in one statement; each tile at most once. */
export async function writeTiles(tx: Queryable, zone: ZoneId, tiles: readonly TileWrite[]): Promise<void> {
  if (tiles.length === 0) return
  const { rows } = await upsertOfTiles(zone, tiles).execute(tx)
  if (rows.length !== tiles.length) throw new Error('a tile was not written')
}

function upsertOfTiles(zone: ZoneId, tiles: readonly TileWrite[]) {
  const column = <T>(read: (tile: TileWrite) => T) => tiles.map(read)
  let written = 0
  const starts = tiles.map(({ hashes }) => {
    written += hashes.length
    return written - hashes.length
  })
  return sql`
    insert into log_tiles as stored (zone, level, tile, hashes)
    select ${zone}, level, tile, substring(${Buffer.concat(tiles.map((t) => t.hashes))}::bytea from start + 1 for length) from unnest(
      ${column((t) => t.level)}::smallint[], ${column((t) => t.index)}::bigint[],
      ${starts}::int[], ${column((t) => t.hashes.length)}::int[]) as slice (level, tile, start, length)
    on conflict (zone, level, tile) do update set hashes = substring(stored.hashes from 1 for 32 * (
      select "offset" from unnest(${column((t) => t.level)}::smallint[], ${column((t) => t.index)}::bigint[],
        ${column((t) => t.offset)}::int[]) as place (level, tile, "offset")
      where place.level = excluded.level and place.tile = excluded.tile)) || excluded.hashes
    returning 1`
}

/** The log is not as long any more as it was when it was read: somebody else appended. Nothing was written. */
export class HeadMoved extends Error {
  override readonly name = 'HeadMoved'
}

/** One statement can write so many blocks: then it needs no transaction around it. */
export function extendsInOneStatement(blocks: readonly BlockDraft[]): boolean {
  return blocks.length <= MOST_BLOCKS
}

/**
 * One round trip for a batch: blocks, tiles and head together. `before` is the size of the log it was made for and the sequence number
 * of the first entry. Throws `HeadMoved` when the log has another size: of several that extend the same log one succeeds. The statement
 * fails as a whole, so that it needs no transaction unless there are more blocks than `extendsInOneStatement` says.
 */
export async function extendLog(
  db: Queryable,
  before: number,
  batch: { readonly blocks: readonly BlockDraft[]; readonly tiles: readonly TileWrite[]; readonly head: LogHead },
  now: UnixMillis,
): Promise<void> {
  const { tiles, head } = batch
  let blocks = batch.blocks
  let from = before
  try {
    // Events that were made over hours and come at once are in as many blocks as there were buckets.
    while (blocks.length > MOST_BLOCKS) {
      const part = blocks.slice(0, MOST_BLOCKS)
      await insertOfBlocks(head.zone, from, part, now).execute(db)
      from += part.reduce((sum, { entries }) => sum + entries.length, 0)
      blocks = blocks.slice(MOST_BLOCKS)
    }
    // Nothing can be divided by a head that did not move: then nothing of the statement happens.
    await sql`
      with blocks as (${insertOfBlocks(head.zone, from, blocks, now)}), tiles as (${upsertOfTiles(head.zone, tiles)}), head as (
        update log_heads set size = ${head.size}, root = ${head.root}, frontier = ${head.frontier}, updated_at = ${timestamp(now)}
        where zone = ${head.zone} and size = ${before} returning 1
      )
      select 1 / (select count(*) from head), 1 / (select (count(*) = ${tiles.length})::int from tiles)`.execute(db)
  } catch (error) {
    if (isOvertaken(error)) throw new HeadMoved(`the log of ${head.zone} does not have ${before} entries any more`, { cause: error })
    throw error
  }
}

/** A division by zero, a block that is there already, or a deadlock with who writes it. */
function isOvertaken(error: unknown): boolean {
  return error instanceof Error && 'code' in error && ['22012', '23505', '40P01'].includes(String(error.code))
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
