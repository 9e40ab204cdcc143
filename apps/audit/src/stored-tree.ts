import type { ZoneId } from '@caracal/core'
import { HASH_BYTES, type TileSource } from '@caracal/ledger'
import { inZone, type Queryable, readTile } from '@caracal/postgres'

/** The tree of a zone's log as the database holds it. Only ever grows, so a reader that stays below a head it read sees one tree. */
export function storedTree(db: Queryable, zone: ZoneId): TileSource {
  return {
    async readTile(level, index, width) {
      const hashes = await inZone(zone, () => readTile(db, zone, level, index))
      if (hashes === undefined || hashes.length < width * HASH_BYTES) throw new TileMissing(level, index)
      return new Uint8Array(hashes.subarray(0, width * HASH_BYTES))
    },
  }
}

/** The tree lacks hashes that its head says are there: the store was damaged. */
export class TileMissing extends Error {
  override readonly name = 'TileMissing'
  constructor(level: number, index: number) {
    super(`the tree lacks hashes of tile ${level}/${index}`)
  }
}
