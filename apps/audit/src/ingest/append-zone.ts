import type { Event, UnixMillis, ZoneId } from '@caracal/core'
import { appendLeaves, decodeFrontier, EMPTY_ROOT, encodeFrontier, type Frontier, frontierRoot, leafHash, sameHash } from '@caracal/ledger'
import { type Database, extendLog, type LogHead, lockLogFor, type NewLogEntry } from '@caracal/postgres'
import { searchable } from './searchable.ts'

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

/**
 * Appends what is new of a zone's arrivals in one transaction: lock the head, leave out what the log has, number the rest without
 * a gap, extend tree and tiles, write the head (P-102): two statements, four round trips (P-166). The order of the arrivals is the order of the log. One outcome for each.
 */
export async function appendToZone(
  database: Database,
  zone: ZoneId,
  arrivals: readonly Arrival[],
  now: UnixMillis,
): Promise<readonly Appended[]> {
  const leaves = arrivals.map(({ text }) => leafHash(Buffer.from(text)))
  return await database.transaction(async (tx) => {
    const ids = arrivals.map(({ event }) => event.id)
    const { head, known: held } = await lockLogFor(tx, zone, ids, EMPTY_ROOT, now)
    const known = new Map(held)
    const entries: NewLogEntry[] = []
    const outcomes = arrivals.map(({ event, text }, at): Appended => {
      const leaf = leaves[at] ?? EMPTY_ROOT
      const before = known.get(event.id)
      if (before !== undefined) return sameHash(before, leaf) ? 'duplicate' : 'conflict'
      known.set(event.id, leaf)
      entries.push({ event: searchable(event), text, leaf })
      return 'appended'
    })
    if (entries.length === 0) return outcomes
    const { frontier, root, slices } = appendLeaves(
      frontierOf(head),
      entries.map(({ leaf }) => leaf),
    )
    const after = { zone, size: frontier.size, root, frontier: encodeFrontier(frontier) }
    await extendLog(tx, head.size, { entries, tiles: slices, head: after }, now)
    return outcomes
  })
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
