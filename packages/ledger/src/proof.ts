import { frontierRoot } from './frontier.ts'
import { EMPTY_ROOT, HASH_BYTES, nodeHash, sameHash } from './hash.ts'
import { subtreeReader, type TileSource } from './tile-source.ts'
import { assertTreeSize, isTreeSize, perfectSubtrees, type Subtree, splitPoint } from './tree-size.ts'

/** Hashes of an inclusion or consistency proof, in the order of RFC 9162. */
export type Proof = readonly Uint8Array[]

type Span = { readonly from: number; readonly to: number }

/** RFC 9162 §2.1.3.1: shows that the leaf at `index` is in the tree of `size` leaves. Throws unless `index < size`. */
export async function inclusionProof(source: TileSource, index: number, size: number): Promise<Proof> {
  return readSpans(subtreeReader(source, size), inclusionPath(index, size))
}

/** The inclusion proofs of several leaves in one tree; what they share is read once. Memory grows with the tiles read. */
export async function inclusionProofs(source: TileSource, indexes: readonly number[], size: number): Promise<Proof[]> {
  const read = subtreeReader(source, size)
  return Promise.all(indexes.map((index) => readSpans(read, inclusionPath(index, size))))
}

/** RFC 9162 §2.1.4.1: shows that the tree of `size` leaves extends the one of `older` leaves. Throws unless `older ≤ size`. */
export async function consistencyProof(source: TileSource, older: number, size: number): Promise<Proof> {
  assertTreeSize(older, 'older')
  assertTreeSize(size, 'size')
  if (older > size) throw new RangeError('the older tree is larger')
  if (older === 0 || older === size) return []
  const path: Span[] = []
  let span: Span = { from: 0, to: size }
  while (older !== span.to) {
    const middle = span.from + splitPoint(span.to - span.from)
    const left = { from: span.from, to: middle }
    const right = { from: middle, to: span.to }
    path.unshift(older <= middle ? right : left)
    span = older <= middle ? left : right
  }
  // The verifier knows the older root itself when it is a perfect subtree at the left edge.
  if (span.from > 0) path.unshift(span)
  return readSpans(subtreeReader(source, size), path)
}

/** RFC 9162 §2.1.3.2: whether the proof leads from the leaf hash at `index` to the root of the tree of `size` leaves. Never throws on data. */
export function verifyInclusion(claim: { leaf: Uint8Array; index: number; size: number; proof: Proof; root: Uint8Array }): boolean {
  const { leaf, index, size, proof, root } = claim
  if (!isTreeSize(index) || !isTreeSize(size) || index >= size || !areHashes([leaf, root, ...proof])) return false
  let fn = index
  let sn = size - 1
  let hash = leaf
  for (const p of proof) {
    if (sn === 0) return false
    if (fn % 2 === 1 || fn === sn) {
      hash = nodeHash(p, hash)
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)]
    } else {
      hash = nodeHash(hash, p)
    }
    ;[fn, sn] = [half(fn), half(sn)]
  }
  return sn === 0 && sameHash(hash, root)
}

/** RFC 9162 §2.1.4.2: whether the proof shows that the newer tree begins with the older one. Never throws on data. */
export function verifyConsistency(claim: {
  older: { size: number; root: Uint8Array }
  newer: { size: number; root: Uint8Array }
  proof: Proof
}): boolean {
  const { older, newer, proof } = claim
  if (!isTreeSize(older.size) || !isTreeSize(newer.size) || older.size > newer.size) return false
  if (!areHashes([older.root, newer.root, ...proof])) return false
  if (newer.size === 0 && !sameHash(newer.root, EMPTY_ROOT)) return false
  // Every tree extends the empty one.
  if (older.size === 0) return proof.length === 0 && sameHash(older.root, EMPTY_ROOT)
  if (older.size === newer.size) return proof.length === 0 && sameHash(older.root, newer.root)

  let fn = older.size - 1
  let sn = newer.size - 1
  while (fn % 2 === 1) [fn, sn] = [half(fn), half(sn)]
  const [first, ...rest] = fn === 0 ? [older.root, ...proof] : proof
  if (first === undefined) return false
  let oldHash = first
  let newHash = first
  for (const p of rest) {
    if (sn === 0) return false
    if (fn % 2 === 1 || fn === sn) {
      oldHash = nodeHash(p, oldHash)
      newHash = nodeHash(p, newHash)
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)]
    } else {
      newHash = nodeHash(newHash, p)
    }
    ;[fn, sn] = [half(fn), half(sn)]
  }
  return sn === 0 && sameHash(oldHash, older.root) && sameHash(newHash, newer.root)
}

function inclusionPath(index: number, size: number): Span[] {
  assertTreeSize(index, 'index')
  assertTreeSize(size, 'size')
  if (index >= size) throw new RangeError('the leaf is not in the tree')
  const path: Span[] = []
  let span: Span = { from: 0, to: size }
  while (span.to - span.from > 1) {
    const middle = span.from + splitPoint(span.to - span.from)
    const left = { from: span.from, to: middle }
    const right = { from: middle, to: span.to }
    path.unshift(index < middle ? right : left)
    span = index < middle ? left : right
  }
  return path
}

async function readSpans(read: (subtree: Subtree) => Promise<Uint8Array>, spans: readonly Span[]): Promise<Uint8Array[]> {
  return Promise.all(
    spans.map(async ({ from, to }) => {
      // A span of a proof starts at a multiple of its power of two, so it is a tree of its own.
      const hashes = await Promise.all(perfectSubtrees(from, to).map(read))
      return frontierRoot({ size: to - from, hashes })
    }),
  )
}

function half(n: number): number {
  return Math.floor(n / 2)
}

function areHashes(hashes: readonly Uint8Array[]): boolean {
  return hashes.every((hash) => hash.length === HASH_BYTES)
}
