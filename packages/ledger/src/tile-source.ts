import { appendLeaves, EMPTY_FRONTIER, type Frontier, frontierRoot } from './frontier.ts'
import { HASH_BYTES, nodeHash, sameHash } from './hash.ts'
import { TILE_HEIGHT, TILE_WIDTH, tilesOfTree, tileWidth } from './tile.ts'
import { assertTreeSize, perfectSubtrees, type Subtree } from './tree-size.ts'

/** Where the hashes of a tree are read from: a table, a directory, a foreign log over HTTP. */
export type TileSource = {
  /** The first `width` hashes (1–256) of the tile, exactly `32 · width` bytes. Rejects when it cannot give them. */
  readTile(level: number, index: number, width: number): Promise<Uint8Array>
}

/** Reads hashes of subtrees of the tree of `size` leaves, each tile and each subtree once. Made per request; it remembers what it read. */
export function subtreeReader(source: TileSource, size: number): (subtree: Subtree) => Promise<Uint8Array> {
  assertTreeSize(size, 'size')
  const tiles = new Map<string, Promise<Uint8Array>>()
  const tile = (level: number, index: number) => {
    const key = `${level}/${index}`
    const known = tiles.get(key)
    if (known !== undefined) return known
    const read = readWholeTile(source, level, index, tileWidth(level, index, size))
    tiles.set(key, read)
    return read
  }
  const subtree = async ({ height, index }: Subtree) => {
    const level = Math.floor(height / TILE_HEIGHT)
    const width = 2 ** (height % TILE_HEIGHT)
    const first = index * width
    if ((first + width) * TILE_WIDTH ** level > size) throw new RangeError('the subtree is not in the tree')
    // A perfect subtree of fewer than 256 hashes of its level never crosses a tile.
    const hashes = await tile(level, Math.floor(first / TILE_WIDTH))
    const at = (first % TILE_WIDTH) * HASH_BYTES
    return foldPerfect(hashes.subarray(at, at + width * HASH_BYTES))
  }
  const subtrees = new Map<string, Promise<Uint8Array>>()
  return ({ height, index }) => {
    const key = `${height}/${index}`
    const known = subtrees.get(key) ?? subtree({ height, index })
    subtrees.set(key, known)
    return known
  }
}

/** The frontier of the first `size` leaves, from O(log size) tiles. */
export async function readFrontier(source: TileSource, size: number): Promise<Frontier> {
  const read = subtreeReader(source, size)
  return { size, hashes: await Promise.all(perfectSubtrees(0, size).map(read)) }
}

/** The root of the tree of the first `size` leaves, as it was when the log had that size. */
export async function readRoot(source: TileSource, size: number): Promise<Uint8Array> {
  return frontierRoot(await readFrontier(source, size))
}

/** A tree in memory, for what has all its leaves at hand: a test, a verifier, a small log. */
export function tilesInMemory(leaves: readonly Uint8Array[]): TileSource {
  const tiles = new Map<string, Uint8Array>()
  for (const { level, index, offset, hashes } of appendLeaves(EMPTY_FRONTIER, leaves).slices) {
    const key = `${level}/${index}`
    const tile = tiles.get(key) ?? new Uint8Array(TILE_WIDTH * HASH_BYTES)
    tile.set(hashes, offset * HASH_BYTES)
    tiles.set(key, tile)
  }
  return {
    async readTile(level, index, width) {
      const tile = tiles.get(`${level}/${index}`)
      if (tile === undefined || width > tileWidth(level, index, leaves.length))
        throw new Error(`there is no tile ${level}/${index} of ${width}`)
      return tile.slice(0, width * HASH_BYTES)
    },
  }
}

/** A stored hash that is not what the tiles below it say. `hash`: its place in the tile. */
export type TileFault = { readonly level: number; readonly index: number; readonly hash: number }

/**
 * Recomputes every level above the leaves from the tiles below it, for a tree of `size` leaves. Reads the whole tree once,
 * tile by tile. Whether the leaves are those of the entries, and whether the root is the signed one, is asked separately.
 */
export async function* faultyTiles(source: TileSource, size: number): AsyncGenerator<TileFault> {
  for (const { level, index, width } of tilesOfTree(size)) {
    if (width < TILE_WIDTH) continue
    const below = foldPerfect(await readWholeTile(source, level, index, TILE_WIDTH))
    const above = Math.floor(index / TILE_WIDTH)
    const place = index % TILE_WIDTH
    const stored = await readWholeTile(source, level + 1, above, tileWidth(level + 1, above, size))
    if (!sameHash(below, stored.subarray(place * HASH_BYTES, (place + 1) * HASH_BYTES)))
      yield { level: level + 1, index: above, hash: place }
  }
}

async function readWholeTile(source: TileSource, level: number, index: number, width: number): Promise<Uint8Array> {
  const bytes = await source.readTile(level, index, width)
  if (bytes.length !== width * HASH_BYTES) throw new Error(`tile ${level}/${index} has ${bytes.length} bytes instead of ${width} hashes`)
  return bytes
}

/** Root of 2^k hashes that stand one after the other. */
function foldPerfect(bytes: Uint8Array): Uint8Array {
  if (bytes.length === HASH_BYTES) return new Uint8Array(bytes)
  const half = bytes.length / 2
  return nodeHash(foldPerfect(bytes.subarray(0, half)), foldPerfect(bytes.subarray(half)))
}
