import type { Event, EventId, UnixMillis, ZoneId } from '@caracal/core'
import {
  appendLeaves,
  decodeFrontier,
  EMPTY_ROOT,
  encodeFrontier,
  type Frontier,
  frontierRoot,
  prefixedLeafHash,
  sameHash,
} from '@caracal/ledger'
import {
  type BlockDraft,
  type Database,
  draftBlocks,
  extendLog,
  extendsInOneStatement,
  HeadMoved,
  type LogHead,
  lockLogFor,
  type NewLogEntry,
  type Queryable,
  readLogFor,
} from '@caracal/postgres'

/** An event on its way into the log: the exact text it was signed as, and what it says. */
export type Arrival = { readonly event: Event; readonly text: string }

/**
 * What became of an arrival. `duplicate`: the log has exactly these bytes already. `conflict`: it has other bytes under this
 * id, which is a forgery or a broken producer.
 */
export type Appended = 'appended' | 'duplicate' | 'conflict'

/** The head of the log is not what its own frontier says: nothing is added to it, and nothing is repaired (P-104). */
export class HeadBroken extends Error {
  override readonly name = 'HeadBroken'
}

/** Others may append to the same zone at once; who was overtaken so often takes the lock and is next. */
const TRIES_WITHOUT_LOCK = 3

/**
 * Appends what is new of a zone's arrivals: read the head, leave out what the log has, number the rest without a gap, extend tree and
 * tiles, write the head if it is still the one that was read (P-102): two statements, two round trips (P-166). Only who is overtaken
 * again and again locks the head first. Arrivals are in the log in their order as long as their ids are of the same few seconds. One
 * outcome for each.
 */
export async function appendToZone(
  database: Database,
  zone: ZoneId,
  arrivals: readonly Arrival[],
  now: UnixMillis,
): Promise<readonly Appended[]> {
  const batch = batchOf(zone, arrivals)
  for (let tries = 0; tries < TRIES_WITHOUT_LOCK; tries += 1) {
    const log = await readLogFor(database.query, zone, batch.ids)
    if (log === undefined) break
    const { outcomes, extension } = planned(zone, batch, log)
    if (extension === undefined) return outcomes
    const extend = (db: Queryable) => extendLog(db, log.head.size, extension, now)
    try {
      if (extendsInOneStatement(extension.blocks)) await extend(database.query)
      else await database.transaction(extend)
      return outcomes
    } catch (error) {
      if (!(error instanceof HeadMoved)) throw error
    }
  }
  return await database.transaction(async (tx) => {
    const log = await lockLogFor(tx, zone, batch.ids, EMPTY_ROOT, now)
    const { outcomes, extension } = planned(zone, batch, log)
    if (extension !== undefined) await extendLog(tx, log.head.size, extension, now)
    return outcomes
  })
}

/** Arrivals with what can be made of them before the log is looked at. */
function batchOf(zone: ZoneId, arrivals: readonly Arrival[]) {
  const first = new Map<EventId, NewLogEntry>()
  const entries = arrivals.map(({ event, text }): NewLogEntry => {
    // What UTF-8 cannot spell is what it becomes in UTF-8, here as in the store.
    const entry = { event, text: text.isWellFormed() ? text : text.toWellFormed() }
    if (!first.has(event.id)) first.set(event.id, entry)
    return entry
  })
  return { first, entries, ids: [...first.keys()], hoped: withLeaves(draftBlocks(zone, [...first.values()])) }
}

/** What becomes of each arrival, and how the log grows; not at all when everything is there. */
function planned(
  zone: ZoneId,
  { first, entries, hoped }: ReturnType<typeof batchOf>,
  { head, known }: { readonly head: LogHead; readonly known: ReadonlyMap<EventId, string> },
) {
  const outcomes = entries.map((entry): Appended => {
    const own = first.get(entry.event.id)
    const before = known.get(entry.event.id) ?? own?.text
    if (own === entry && !known.has(entry.event.id)) return 'appended'
    return before === entry.text ? 'duplicate' : 'conflict'
  })
  const fresh = () => [...first.values()].filter(({ event }) => !known.has(event.id))
  const { blocks, leaves } = known.size === 0 ? hoped : withLeaves(draftBlocks(zone, fresh()))
  if (blocks.length === 0) return { outcomes, extension: undefined }
  const { frontier, root, slices } = appendLeaves(frontierOf(head), leaves)
  const after = { zone, size: frontier.size, root, frontier: encodeFrontier(frontier) }
  return { outcomes, extension: { blocks, tiles: slices, head: after } }
}

function withLeaves(blocks: readonly BlockDraft[]): { readonly blocks: readonly BlockDraft[]; readonly leaves: readonly Uint8Array[] } {
  // In a block each event stands behind a NUL byte, which is the prefix of a leaf.
  const leaves = blocks.flatMap(({ raw, starts }) =>
    starts.map((start, i) => prefixedLeafHash(raw.subarray(start, starts[i + 1] ?? raw.length))),
  )
  return { blocks, leaves }
}

/** The frontier of a head, if it leads to the head's own root. */
export function frontierOf(head: LogHead): Frontier {
  let frontier: Frontier
  try {
    frontier = decodeFrontier(head.size, head.frontier)
  } catch (error) {
    throw new HeadBroken(`the head of ${head.zone} has no frontier of its size`, { cause: error })
  }
  if (!sameHash(frontierRoot(frontier), head.root)) throw new HeadBroken(`the head of ${head.zone} has another root than its frontier`)
  return frontier
}
