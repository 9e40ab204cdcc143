import type { ZoneId } from '@caracal/core'
import { faultyTiles, TILE_WIDTH } from '@caracal/ledger'
import { BlockBroken, findLogHead, inZone, misfiledBlocks, type Queryable } from '@caracal/postgres'
import { storedTree, TileMissing } from '../stored-tree.ts'
import { verifyEntries } from './verify-head.ts'

/** One step of a pass: what it found, and how much of the pass is done. */
export type Step = { readonly problems: readonly string[]; readonly done: number; readonly of: number }

/**
 * A pass over a whole log, one tile a step: every entry against its leaf hash in the tree, every block against what
 * it is found by, and every level of the tree against the one
 * below. Whether the root on top is the signed one is the head's check. The caller sets the pace; nothing is changed.
 */
export async function* verifyTree(db: Queryable, zone: ZoneId): AsyncGenerator<Step> {
  const size = (await findLogHead(db, zone))?.size ?? 0
  const tiles = Math.ceil(size / TILE_WIDTH)
  // The levels above come last, in one step: they are read once more, without the entries.
  const of = tiles + 1
  for (let tile = 0; tile < tiles; tile += 1) {
    const from = tile * TILE_WIDTH
    const to = Math.min(from + TILE_WIDTH, size)
    const problems = await inZone(zone, async () => [
      ...(await verifyEntries(db, zone, from, to)),
      ...(await verifyFiling(db, zone, from, to)),
    ])
    yield { problems, done: tile + 1, of }
  }
  try {
    for await (const { level, index, hash } of faultyTiles(storedTree(db, zone), size)) {
      yield { problems: [`hash ${hash} of tile ${level}/${index} is not what the tiles below it say`], done: tiles, of }
    }
  } catch (error) {
    if (!(error instanceof TileMissing)) throw error
    yield { problems: [error.message], done: tiles, of }
  }
  yield { problems: [], done: of, of }
}

/** Whether the blocks that begin in [from, to) are found by what their events say. */
async function verifyFiling(db: Queryable, zone: ZoneId, from: number, to: number): Promise<readonly string[]> {
  try {
    return (await misfiledBlocks(db, zone, from, to)).map((seq) => `the block of entry ${seq} is not found by what its events say`)
  } catch (error) {
    if (!(error instanceof BlockBroken)) throw error
    return [error.message]
  }
}
