import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeEntryBundle, encodeEntryBundle, formatTilePath, parseTilePath, tilesOfTree } from './index.ts'

describe('tile paths', () => {
  it.each([
    ['tile/0/x001/x234/067', { level: 0, index: 1_234_067, width: 256 }],
    ['tile/0/000', { level: 0, index: 0, width: 256 }],
    ['tile/1/273.p/112', { level: 1, index: 273, width: 112 }],
    ['tile/63/x001/000.p/1', { level: 63, index: 1000, width: 1 }],
    ['tile/entries/x999/999', { level: 'entries', index: 999_999, width: 256 }],
    ['tile/entries/x001/x000/000.p/255', { level: 'entries', index: 1_000_000, width: 255 }],
  ] as const)('%s is written and read as C2SP tlog-tiles says', (path, tile) => {
    expect(formatTilePath(tile)).toBe(path)
    expect(parseTilePath(path)).toEqual(tile)
  })

  it.each([
    '/tile/0/000',
    'tile/00/000',
    'tile/01/000',
    'tile/64/000',
    'tile/-1/000',
    'tile/entry/000',
    'tile/0/0',
    'tile/0/0000',
    'tile/0/x000/001',
    'tile/0/001/234',
    'tile/0/x001/x234',
    'tile/0/X001/234',
    'tile/0/000.p/0',
    'tile/0/000.p/256',
    'tile/0/000.p/01',
    'tile/0/000.p/',
    'tile/0/000.p',
    'tile/0/000/',
    'tile/0/000\n',
    'tile/0/x999/x999/x999/x999/x999/999',
    'tile/0/../000',
    'tile/0/٠٠٠',
  ])('%j is no path of a tile', (path) => {
    expect(parseTilePath(path)).toBeUndefined()
  })

  it('comes back the same for every tile', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.nat(63), fc.constant('entries' as const)),
        fc.maxSafeNat(),
        fc.integer({ min: 1, max: 256 }),
        (level, index, width) => {
          expect(parseTilePath(formatTilePath({ level, index, width }))).toEqual({ level, index, width })
        },
      ),
    )
  })

  it('a tree of 256 has a full tile and a partial one of width 1 above it', () => {
    expect([...tilesOfTree(256)]).toEqual([
      { level: 0, index: 0, width: 256 },
      { level: 1, index: 0, width: 1 },
    ])
    expect([...tilesOfTree(0)]).toEqual([])
  })
})

describe('entry bundles', () => {
  it('keeps the exact bytes of each entry behind its length', () => {
    expect(encodeEntryBundle([Buffer.from('ab'), new Uint8Array(0)])).toEqual(new Uint8Array([0, 2, 97, 98, 0, 0]))
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 256 }), (entries) => {
        expect(decodeEntryBundle(encodeEntryBundle(entries), entries.length)).toEqual(entries)
      }),
    )
  })

  it('refuses a bundle that is cut or has another number of entries', () => {
    const bundle = encodeEntryBundle([Buffer.from('first'), Buffer.from('second')])
    for (let end = 0; end < bundle.length; end += 1) expect(decodeEntryBundle(bundle.subarray(0, end), 2)).toBeUndefined()
    expect(decodeEntryBundle(bundle, 1)).toBeUndefined()
    expect(decodeEntryBundle(bundle, 3)).toBeUndefined()
  })

  it('does not take what a 16-bit length cannot say', () => {
    expect(encodeEntryBundle([new Uint8Array(65_535)])).toHaveLength(65_537)
    expect(() => encodeEntryBundle([new Uint8Array(65_536)])).toThrow(RangeError)
    expect(() => encodeEntryBundle([])).toThrow(RangeError)
    expect(() => encodeEntryBundle(Array.from({ length: 257 }, () => new Uint8Array(1)))).toThrow(RangeError)
  })
})
