import { decodeEntryBundle, encodeEntryBundle, formatTilePath, parseTilePath } from '@caracal/ledger'
import fc from 'fast-check'
import { mutated, mutatedText } from '../mutate.ts'
import { same } from '../same.ts'
import { target } from '../target.ts'

const address = fc.record({
  level: fc.oneof(fc.integer({ min: 0, max: 63 }), fc.constant('entries' as const)),
  index: fc.oneof(fc.nat(2000), fc.maxSafeNat()),
  width: fc.integer({ min: 1, max: 256 }),
})

export const tilePath = target(
  { name: 'tile-path', guarantee: 'a tile has one path, and no other spelling of it is read', runs: 4000 },
  fc.oneof(
    address.map(formatTilePath),
    mutatedText(['tile/0/x001/x234/067', 'tile/entries/000.p/255', 'tile/63/x999/999.p/1', 'tile/1/000.p/256']),
  ),
  (path) => {
    const read = parseTilePath(path)
    if (read !== undefined) return same(formatTilePath(read), path)
    if (/^tile\/(?:entries|[0-9]|[1-5][0-9]|6[0-3])\/(?:x[0-9]{3}\/){0,4}[0-9]{3}$/.test(path) && !/\/x000\//.test(path))
      throw new Error(`${path} is one`)
  },
)

const bundles = [['a', 'bb', ''], ['{}'], Array.from({ length: 256 }, (_, n) => String(n))].map((entries) =>
  encodeEntryBundle(entries.map((entry) => Buffer.from(entry))),
)

export const entryBundle = target(
  { name: 'entry-bundle', guarantee: 'entries that are read out of a tile are those that were written into it', runs: 1500 },
  fc.tuple(mutated(bundles), fc.constantFrom(1, 3, 256)),
  ([bytes, width]) => {
    const read = decodeEntryBundle(bytes, width)
    if (read === undefined) return
    same(read.length, width)
    same(Buffer.from(encodeEntryBundle(read)).toString('hex'), bytes.toString('hex'))
  },
)
