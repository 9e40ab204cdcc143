import { EMPTY_ROOT, HASH_BYTES, nodeHash } from './hash.ts'
import { TILE_HEIGHT, TILE_WIDTH } from './tile.ts'
import { assertTreeSize } from './tree-size.ts'

/**
 * What is kept to extend a tree: its size and the roots of its perfect subtrees, largest (leftmost) first,
 * one per 1-bit of the size; at most 53 hashes.
 */
export type Frontier = { readonly size: number; readonly hashes: readonly Uint8Array[] }

export const EMPTY_FRONTIER: Frontier = { size: 0, hashes: [] }

/** Hashes to write at `offset` (in hashes) of the tile `index` of `level`; the tile is full when `offset + hashes.length / 32` is 256. */
export type TileSlice = { readonly level: number; readonly index: number; readonly offset: number; readonly hashes: Uint8Array }

export type Appended = {
  readonly frontier: Frontier
  readonly root: Uint8Array
  /** What the append adds to the tiles: level 0 are the leaves, above it the root of each tile that became full. Per level in order, never overlapping. */
  readonly slices: readonly TileSlice[]
}

/**
 * Extends a tree by a batch of leaf hashes (RFC 9162 §2.1.1; amortised one node hash per leaf).
 * Gives the new frontier, its root, and what to add to the stored tiles. The given frontier is not changed.
 */
export function appendLeaves(frontier: Frontier, leaves: readonly Uint8Array[]): Appended {
  const tree = growing(frontier)
  const added: { start: number; hashes: Uint8Array[] }[] = []
  const noteAdded = (level: number, index: number, hash: Uint8Array) => {
    const run = added[level]
    if (run === undefined) added[level] = { start: index, hashes: [hash] }
    else run.hashes.push(hash)
  }
  for (const leaf of leaves) {
    tree.push(0, leaf, (height, index, hash) => {
      if (height % TILE_HEIGHT === 0) noteAdded(height / TILE_HEIGHT, index, hash)
    })
  }
  const slices = added.flatMap((run, level) => slicesOf(level, run.start, run.hashes))
  const grown = tree.frontier()
  return { frontier: grown, root: frontierRoot(grown), slices }
}

/**
 * Extends a tree by the root of a perfect subtree of 2^height leaves. The size so far must be a multiple of 2^height
 * (anything else would not be the RFC 9162 tree), otherwise it throws.
 */
export function appendSubtree(frontier: Frontier, height: number, hash: Uint8Array): Frontier {
  const tree = growing(frontier)
  tree.push(height, hash)
  return tree.frontier()
}

/** The root of the tree a frontier stands for. */
export function frontierRoot(frontier: Frontier): Uint8Array {
  return frontier.hashes.length === 0 ? EMPTY_ROOT : frontier.hashes.reduceRight((right, left) => nodeHash(left, right))
}

/** How many hashes the frontier of a tree of this size has. */
export function frontierWidth(size: number): number {
  let ones = 0
  for (let n = size; n > 0; n = Math.floor(n / 2)) ones += n % 2
  return ones
}

/** The frontier as stored bytes: its hashes one after the other. The size is stored beside it. */
export function encodeFrontier(frontier: Frontier): Uint8Array {
  return joinHashes(frontier.hashes)
}

/** Reads stored frontier bytes; throws when they cannot belong to a tree of this size, because then the store is broken. */
export function decodeFrontier(size: number, bytes: Uint8Array): Frontier {
  assertTreeSize(size, 'size')
  const frontier = { size, hashes: splitHashes(bytes) }
  assertFrontier(frontier)
  return frontier
}

/** One hash after the other. */
export function joinHashes(hashes: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(hashes.length * HASH_BYTES)
  hashes.forEach((hash, i) => {
    out.set(hash, i * HASH_BYTES)
  })
  return out
}

/** The opposite of joining. Throws when the length is no multiple of 32. */
export function splitHashes(bytes: Uint8Array): Uint8Array[] {
  if (bytes.length % HASH_BYTES !== 0) throw new RangeError('the bytes are not whole hashes')
  return Array.from({ length: bytes.length / HASH_BYTES }, (_, i) => new Uint8Array(bytes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES)))
}

function slicesOf(level: number, start: number, hashes: readonly Uint8Array[]): TileSlice[] {
  const slices: TileSlice[] = []
  for (let done = 0; done < hashes.length; ) {
    const at = start + done
    const offset = at % TILE_WIDTH
    const take = Math.min(TILE_WIDTH - offset, hashes.length - done)
    slices.push({ level, index: Math.floor(at / TILE_WIDTH), offset, hashes: joinHashes(hashes.slice(done, done + take)) })
    done += take
  }
  return slices
}

type OnPerfect = (height: number, index: number, hash: Uint8Array) => void

/** A binary counter of perfect subtrees: two of one height become one of the next. */
function growing(from: Frontier) {
  assertFrontier(from)
  let size = from.size
  const hashes = [...from.hashes]
  return {
    push(height: number, hash: Uint8Array, onPerfect?: OnPerfect) {
      const width = 2 ** height
      if (hash.length !== HASH_BYTES) throw new RangeError('a hash has 32 bytes')
      if (size % width !== 0) throw new RangeError('the subtree does not stand at a multiple of its width')
      assertTreeSize(size + width, 'size')
      let at = size / width
      let top = height
      let merged = hash
      size += width
      onPerfect?.(top, at, merged)
      while (at % 2 === 1) {
        const left = hashes.pop()
        if (left === undefined) throw new Error('the frontier has fewer hashes than its size has ones')
        merged = nodeHash(left, merged)
        at = (at - 1) / 2
        top += 1
        onPerfect?.(top, at, merged)
      }
      hashes.push(merged)
    },
    frontier: (): Frontier => ({ size, hashes: [...hashes] }),
  }
}

function assertFrontier(frontier: Frontier): void {
  assertTreeSize(frontier.size, 'size')
  if (frontier.hashes.length !== frontierWidth(frontier.size) || frontier.hashes.some((hash) => hash.length !== HASH_BYTES)) {
    throw new RangeError('the hashes are not the frontier of a tree of this size')
  }
}
