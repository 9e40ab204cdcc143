import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  appendLeaves,
  consistencyProof,
  decodeFrontier,
  EMPTY_FRONTIER,
  EMPTY_ROOT,
  encodeFrontier,
  type Frontier,
  faultyTiles,
  frontierRoot,
  inclusionProof,
  inclusionProofs,
  leafHash,
  nodeHash,
  readFrontier,
  readRoot,
  sameHash,
  type TileSource,
  tilesInMemory,
  tileWidth,
  verifyConsistency,
  verifyInclusion,
} from './index.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const unhex = (text: string) => new Uint8Array(Buffer.from(text, 'hex'))
const leafAt = (i: number) => leafHash(Buffer.from(`leaf ${i}`))
const leaves = Array.from({ length: 300 }, (_, i) => leafAt(i))

/** The definition of RFC 9162 §2.1.1, word by word and slow, with another hash call than the code under test. */
function definedRoot(hashes: readonly Uint8Array[]): Uint8Array {
  if (hashes.length === 0) return createHash('sha256').digest()
  const [only] = hashes
  if (hashes.length === 1 && only !== undefined) return only
  let k = 1
  while (k * 2 < hashes.length) k *= 2
  return createHash('sha256')
    .update(Buffer.from([1]))
    .update(definedRoot(hashes.slice(0, k)))
    .update(definedRoot(hashes.slice(k)))
    .digest()
}

// The reference data of the Certificate Transparency implementations.
const VECTOR_LEAVES = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f']
const VECTOR_ROOTS = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
]
const vectorLeaves = VECTOR_LEAVES.map((entry) => leafHash(unhex(entry)))

describe('the published vectors', () => {
  it.each(VECTOR_ROOTS.map((root, size) => ({ size, root })))(
    '[P-101] the root of the first $size leaves is the published one',
    ({ size, root }) => {
      expect(hex(appendLeaves(EMPTY_FRONTIER, vectorLeaves.slice(0, size)).root)).toBe(root)
    },
  )

  it.each([
    { index: 0, size: 1, proof: [] },
    {
      index: 0,
      size: 8,
      proof: [
        '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
        '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
        '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
      ],
    },
    {
      index: 5,
      size: 8,
      proof: [
        'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
        'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
        'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
      ],
    },
    { index: 2, size: 3, proof: ['fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125'] },
  ])('the inclusion proof of leaf $index in $size is the published one', async ({ index, size, proof }) => {
    expect((await inclusionProof(tilesInMemory(vectorLeaves.slice(0, size)), index, size)).map(hex)).toEqual(proof)
  })

  it.each([
    { older: 1, size: 1, proof: [] },
    {
      older: 1,
      size: 8,
      proof: [
        '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
        '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
        '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
      ],
    },
    {
      older: 6,
      size: 8,
      proof: [
        '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
        'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
        'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
      ],
    },
    {
      older: 2,
      size: 5,
      proof: [
        '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
        'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
      ],
    },
  ])('the consistency proof from $older to $size is the published one', async ({ older, size, proof }) => {
    expect((await consistencyProof(tilesInMemory(vectorLeaves), older, size)).map(hex)).toEqual(proof)
  })
})

describe('appending', () => {
  it('[P-101] gives the root that RFC 9162 defines for every size up to 300, whatever the batches', () => {
    const oneByOne: Frontier[] = []
    let frontier = EMPTY_FRONTIER
    for (const [i, leaf] of leaves.entries()) {
      oneByOne.push(frontier)
      expect(hex(frontierRoot(frontier))).toBe(hex(definedRoot(leaves.slice(0, i))))
      frontier = appendLeaves(frontier, [leaf]).frontier
    }
    fc.assert(
      fc.property(fc.nat(299), fc.nat(299), (a, b) => {
        const [from, to] = a < b ? [a, b] : [b, a]
        const start = oneByOne[from] ?? EMPTY_FRONTIER
        expect(appendLeaves(start, leaves.slice(from, to)).frontier).toEqual(oneByOne[to])
      }),
    )
  })

  it('[P-101] does not double an odd node: lists that differ only by a repeated last leaf have different roots', () => {
    const [a, b, c] = [leafAt(0), leafAt(1), leafAt(2)]
    expect(appendLeaves(EMPTY_FRONTIER, [a, b, c]).root).not.toEqual(appendLeaves(EMPTY_FRONTIER, [a, b, c, c]).root)
  })

  it('[P-101] tells a leaf from a node: an entry that spells out a node does not hash to it', () => {
    const [a, b] = [leafAt(0), leafAt(1)]
    expect(leafHash(Buffer.concat([a, b]))).not.toEqual(nodeHash(a, b))
  })

  it('gives every hash of every tile exactly once, so that slices written one after the other are the tiles', async () => {
    const many = Array.from({ length: 70_000 }, (_, i) => leafHash(Buffer.from(String(i))))
    const tiles = new Map<string, Uint8Array[]>()
    let frontier = EMPTY_FRONTIER
    for (let at = 0; at < many.length; ) {
      const batch = many.slice(at, at + 1 + ((at * 7919) % 1500))
      const appended = appendLeaves(frontier, batch)
      for (const { level, index, offset, hashes } of appended.slices) {
        const key = `${level}/${index}`
        const tile = tiles.get(key) ?? []
        expect(tile.reduce((sum, part) => sum + part.length, 0)).toBe(offset * 32)
        tiles.set(key, [...tile, hashes])
      }
      frontier = appended.frontier
      at += batch.length
    }
    // The sizes that C2SP tlog-tiles names for a tree of 70,000.
    expect([
      tileWidth(0, 273, 70_000),
      tileWidth(1, 0, 70_000),
      tileWidth(1, 1, 70_000),
      tileWidth(2, 0, 70_000),
      tileWidth(3, 0, 70_000),
    ]).toEqual([112, 256, 17, 1, 0])
    expect([...tiles.keys()].filter((key) => key.startsWith('0/'))).toHaveLength(274)
    const source: TileSource = {
      readTile: async (level, index, width) => Buffer.concat(tiles.get(`${level}/${index}`) ?? []).subarray(0, width * 32),
    }
    expect(await readRoot(source, 70_000)).toEqual(frontierRoot(frontier))
    expect(await readFrontier(source, 65_536)).toEqual(appendLeaves(EMPTY_FRONTIER, many.slice(0, 65_536)).frontier)
    expect((await consistencyProof(source, 65_537, 70_000)).length).toBeGreaterThan(3)
    const proof = await inclusionProof(source, 69_999, 70_000)
    expect(
      verifyInclusion({ leaf: leafHash(Buffer.from('69999')), index: 69_999, size: 70_000, proof, root: frontierRoot(frontier) }),
    ).toBe(true)
  })

  it('refuses a stored state that cannot be one, instead of growing another tree from it', () => {
    const { frontier } = appendLeaves(EMPTY_FRONTIER, leaves.slice(0, 77))
    expect(decodeFrontier(77, encodeFrontier(frontier))).toEqual(frontier)
    expect(() => decodeFrontier(76, encodeFrontier(frontier))).toThrow(RangeError)
    expect(() => decodeFrontier(77, encodeFrontier(frontier).subarray(1))).toThrow(RangeError)
    expect(() => decodeFrontier(-1, new Uint8Array(0))).toThrow(RangeError)
    expect(() => appendLeaves(EMPTY_FRONTIER, [new Uint8Array(31)])).toThrow(RangeError)
  })
})

describe('proofs', () => {
  it('[P-101] every leaf of every size up to 300 is proven, and not under the next index, another leaf or the next size', async () => {
    const source = tilesInMemory(leaves)
    for (let size = 1; size <= 300; size += 1) {
      const root = await readRoot(source, size)
      const proofs = await inclusionProofs(
        source,
        Array.from({ length: size }, (_, index) => index),
        size,
      )
      for (const [index, proof] of proofs.entries()) {
        const leaf = leafAt(index)
        const claim = { leaf, index, size, proof, root }
        if (!verifyInclusion(claim)) throw new Error(`leaf ${index} of ${size} is not proven`)
        if (verifyInclusion({ ...claim, leaf: leafAt(index + 1) })) throw new Error('another leaf is proven')
        if (verifyInclusion({ ...claim, index: index + 1 })) throw new Error('another index is proven')
      }
    }
  }, 60_000)

  it('[P-101] every pair of sizes m ≤ n ≤ 130 is proven consistent, and never with another root', async () => {
    const source = tilesInMemory(leaves)
    const roots = await Promise.all(Array.from({ length: 131 }, (_, size) => readRoot(source, size)))
    for (const [n, newRoot] of roots.entries()) {
      for (const [m, oldRoot] of roots.slice(0, n + 1).entries()) {
        const proof = await consistencyProof(source, m, n)
        const older = { size: m, root: oldRoot }
        const newer = { size: n, root: newRoot }
        if (!verifyConsistency({ older, newer, proof })) throw new Error(`${m} → ${n} is not proven`)
        const wrong = roots[m + 1] ?? EMPTY_ROOT
        if (verifyConsistency({ older: { size: m, root: wrong }, newer, proof })) throw new Error(`${m} → ${n} holds with another old root`)
        if (verifyConsistency({ older, newer: { size: n, root: wrong }, proof }) && m > 0 && !sameHash(wrong, newRoot)) {
          throw new Error(`${m} → ${n} holds with another new root`)
        }
      }
    }
  }, 60_000)

  const flip = (bytes: Uint8Array, bit: number) =>
    bytes.map((byte, i) => (i === Math.floor(bit / 8) % bytes.length ? byte ^ (1 << (bit % 8)) : byte))

  it('[P-101] no changed inclusion proof verifies, and one that failed does not spoil the next', async () => {
    const source = tilesInMemory(leaves)
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 2, max: 300 }),
        fc.nat(),
        fc.nat(),
        fc.nat(255),
        fc.constantFrom('flip', 'drop', 'add', 'swap', 'root', 'size', 'short'),
        async (size, i, j, bit, kind) => {
          const index = i % size
          const proof = [...(await inclusionProof(source, index, size))]
          const root = await readRoot(source, size)
          const claim = { leaf: leafAt(index), index, size, proof, root }
          const at = j % proof.length
          const hash = proof[at] ?? root
          const mutated = {
            flip: { ...claim, proof: proof.with(at, flip(hash, bit)) },
            drop: { ...claim, proof: proof.toSpliced(at, 1) },
            add: { ...claim, proof: proof.toSpliced(at, 0, hash) },
            swap: { ...claim, proof: proof.toReversed().concat(proof.length === 1 ? [root] : []) },
            root: { ...claim, root: flip(root, bit) },
            size: { ...claim, size: index },
            short: { ...claim, proof: proof.with(at, hash.subarray(0, 31)) },
          }[kind]
          expect(verifyInclusion(mutated)).toBe(false)
          expect(verifyInclusion(claim)).toBe(true)
        },
      ),
      { numRuns: 500 },
    )
  })

  it('[P-101] no changed consistency proof verifies', async () => {
    const source = tilesInMemory(leaves)
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 2, max: 300 }),
        fc.nat(),
        fc.nat(),
        fc.nat(255),
        fc.constantFrom('flip', 'drop', 'add', 'old', 'new', 'order'),
        async (size, m, j, bit, kind) => {
          const oldSize = 1 + (m % (size - 1))
          const proof = [...(await consistencyProof(source, oldSize, size))]
          const older = { size: oldSize, root: await readRoot(source, oldSize) }
          const newer = { size, root: await readRoot(source, size) }
          const at = j % proof.length
          const hash = proof[at] ?? newer.root
          const mutated = {
            flip: { older, newer, proof: proof.with(at, flip(hash, bit)) },
            drop: { older, newer, proof: proof.toSpliced(at, 1) },
            add: { older, newer, proof: proof.toSpliced(at, 0, hash) },
            old: { older: { ...older, root: flip(older.root, bit) }, newer, proof },
            new: { older, newer: { ...newer, root: flip(newer.root, bit) }, proof },
            order: { older: newer, newer: older, proof },
          }[kind]
          expect(verifyConsistency(mutated)).toBe(false)
          expect(verifyConsistency({ older, newer, proof })).toBe(true)
        },
      ),
      { numRuns: 500 },
    )
  })

  it('refuses to prove what is not in the tree', async () => {
    const source = tilesInMemory(leaves)
    await expect(inclusionProof(source, 5, 5)).rejects.toThrow(RangeError)
    await expect(consistencyProof(source, 6, 5)).rejects.toThrow(RangeError)
    await expect(inclusionProof(source, 0, 301)).rejects.toThrow()
    await expect(inclusionProof({ readTile: async () => new Uint8Array(32) }, 0, 5)).rejects.toThrow('bytes instead of')
  })

  it('a proof from the empty tree to a size claims nothing but the empty root', () => {
    const newer = { size: 1, root: leafAt(0) }
    expect(verifyConsistency({ older: { size: 0, root: EMPTY_ROOT }, newer, proof: [] })).toBe(true)
    expect(verifyConsistency({ older: { size: 0, root: leafAt(0) }, newer, proof: [] })).toBe(false)
    expect(verifyConsistency({ older: { size: 0, root: EMPTY_ROOT }, newer, proof: [leafAt(0)] })).toBe(false)
  })

  it('works past 2^32 leaves, where bit operations would not', async () => {
    // A log of one and the same leaf: every subtree of a height has one hash, so that no tile must be stored.
    const perfect = [leafAt(0)]
    for (let height = 1; height <= 50; height += 1) {
      const below = perfect[height - 1] ?? EMPTY_ROOT
      perfect.push(nodeHash(below, below))
    }
    const source: TileSource = {
      readTile: async (level, _index, width) => Buffer.concat(Array.from({ length: width }, () => perfect[level * 8] ?? EMPTY_ROOT)),
    }
    const size = 2 ** 40 + 2 ** 33 + 5
    const older = 2 ** 35 + 3
    const root = await readRoot(source, size)
    const index = 2 ** 40 + 17
    expect(verifyInclusion({ leaf: leafAt(0), index, size, root, proof: await inclusionProof(source, index, size) })).toBe(true)
    expect(
      verifyConsistency({
        older: { size: older, root: await readRoot(source, older) },
        newer: { size, root },
        proof: await consistencyProof(source, older, size),
      }),
    ).toBe(true)
  })
})

describe('stored tiles', () => {
  it('[P-109] a changed hash above the leaves is found with its place', async () => {
    const many = Array.from({ length: 1000 }, (_, i) => leafAt(i))
    const good = tilesInMemory(many)
    const faults = async (source: TileSource) => {
      const found = []
      for await (const fault of faultyTiles(source, many.length)) found.push(fault)
      return found
    }
    expect(await faults(good)).toEqual([])
    const changed: TileSource = {
      async readTile(level, index, width) {
        const tile = await good.readTile(level, index, width)
        if (level === 1) tile[32 * 2 + 5] = (tile[32 * 2 + 5] ?? 0) ^ 1
        return tile
      },
    }
    expect(await faults(changed)).toEqual([{ level: 1, index: 0, hash: 2 }])
  })
})
