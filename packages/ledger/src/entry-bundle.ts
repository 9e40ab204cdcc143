import { TILE_WIDTH } from './tile.ts'

/** Entries are length-prefixed with 16 bits, so none can be longer (bytes). */
export const MAX_ENTRY_BYTES = 65_535

/**
 * C2SP tlog-tiles entry bundle: each entry behind its length as big-endian uint16.
 * Throws for no entries, more than 256, or an entry that is too long: the ledger never holds such.
 */
export function encodeEntryBundle(entries: readonly Uint8Array[]): Uint8Array {
  if (entries.length === 0 || entries.length > TILE_WIDTH) throw new RangeError('a bundle has 1 to 256 entries')
  const bundle = new Uint8Array(entries.reduce((sum, entry) => sum + 2 + entry.length, 0))
  const view = new DataView(bundle.buffer)
  let at = 0
  for (const entry of entries) {
    if (entry.length > MAX_ENTRY_BYTES) throw new RangeError('an entry is longer than 65535 bytes')
    view.setUint16(at, entry.length)
    bundle.set(entry, at + 2)
    at += 2 + entry.length
  }
  return bundle
}

/** The entries of a bundle that has exactly `width`; `undefined` when it has more, fewer, or is cut. */
export function decodeEntryBundle(bundle: Uint8Array, width: number): Uint8Array[] | undefined {
  const view = new DataView(bundle.buffer, bundle.byteOffset, bundle.byteLength)
  const entries: Uint8Array[] = []
  let at = 0
  while (at < bundle.length) {
    if (entries.length === width || at + 2 > bundle.length) return undefined
    const end = at + 2 + view.getUint16(at)
    if (end > bundle.length) return undefined
    entries.push(bundle.slice(at + 2, end))
    at = end
  }
  return entries.length === width ? entries : undefined
}
