import type { ZoneId } from '@caracal/core'
import { type Checkpoint, HASH_BYTES, leafHash, type NoteVerifier, openCheckpoint, readRoot, sameHash, TILE_WIDTH } from '@caracal/ledger'
import { BlockBroken, findLogHead, type LogEntry, latestCheckpoint, type Queryable, readEntries } from '@caracal/postgres'
import { frontierOf, HeadBroken } from '../ingest/append-zone.ts'
import { storedTree, TileMissing } from '../stored-tree.ts'

/**
 * Whether the newest part of a log holds together: head against its frontier, the stored tree, the last signed checkpoint and what
 * was `seen` before; the newest entries against their numbers and the tree. Changes nothing. Gives what is wrong,
 * in words; nothing when it holds.
 */
export async function verifyHead(
  db: Queryable,
  log: {
    readonly zone: ZoneId
    readonly origin: string
    readonly verifiers: readonly NoteVerifier[]
    readonly seen: Checkpoint | undefined
  },
): Promise<readonly string[]> {
  const { zone, seen } = log
  // In this order: a log grows between two statements, it never shrinks.
  const last = await latestCheckpoint(db, zone)
  const head = await findLogHead(db, zone)
  if (head === undefined) return seen === undefined && last === undefined ? [] : ['the head is gone']
  const problems: string[] = []
  const { size, root } = head
  const source = storedTree(db, zone)
  const rootIs = async (at: number, expected: Uint8Array, what: string) => {
    try {
      if (!sameHash(await readRoot(source, at), expected)) problems.push(what)
    } catch (error) {
      if (!(error instanceof TileMissing)) throw error
      problems.push(error.message)
    }
  }

  try {
    frontierOf(head)
  } catch (error) {
    if (!(error instanceof HeadBroken)) throw error
    problems.push(error.message)
  }
  await rootIs(size, root, 'the head has another root than the stored tree')
  const checkpoints = seen === undefined ? [] : [seen]
  if (last !== undefined) {
    const opened = openCheckpoint(
      last.note,
      log.origin,
      log.verifiers.map((verifier) => ({ verifier })),
    )
    if (!opened.ok) problems.push(`the last checkpoint does not verify: ${opened.detail}`)
    else if (opened.checkpoint.size !== last.size) problems.push('the last checkpoint is filed under another size than it signs')
    else checkpoints.push(opened.checkpoint)
  }
  for (const one of checkpoints) {
    if (one.size > size) problems.push(`the log has ${size} entries where a checkpoint was signed for ${one.size}`)
    else await rootIs(one.size, one.root, `the log does not extend its checkpoint of size ${one.size}`)
  }
  const from = Math.max(0, Math.floor((size - 1) / TILE_WIDTH) * TILE_WIDTH)
  problems.push(...(await verifyEntries(db, zone, from, size)))
  return problems
}

/**
 * Whether the entries [from, to) of one tile are all there, once, and are those whose leaf hashes the tile has.
 * `from` is a multiple of 256, `to` at most 256 more.
 */
export async function verifyEntries(db: Queryable, zone: ZoneId, from: number, to: number): Promise<readonly string[]> {
  if (to <= from) return []
  let entries: readonly LogEntry[]
  let tile: Uint8Array
  try {
    tile = await storedTree(db, zone).readTile(0, from / TILE_WIDTH, to - from)
    entries = await readEntries(db, zone, from, to)
  } catch (error) {
    if (!(error instanceof TileMissing || error instanceof BlockBroken)) throw error
    return [error.message]
  }
  const problems: string[] = []
  let next = from
  for (const { seq, event } of entries) {
    for (; next < seq; next += 1) problems.push(`entry ${next} is missing`)
    if (next > seq) problems.push(`entry ${seq} is there twice`)
    const at = (seq - from) * HASH_BYTES
    if (!sameHash(leafHash(Buffer.from(event)), tile.subarray(at, at + HASH_BYTES)))
      problems.push(`entry ${seq} is not the one in the tree`)
    next = seq + 1
  }
  for (; next < to; next += 1) problems.push(`entry ${next} is missing`)
  return problems
}
