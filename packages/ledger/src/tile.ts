import { parseTreeSize } from './tree-size.ts'

/** Levels of the tree one tile spans (C2SP tlog-tiles). */
export const TILE_HEIGHT = 8

/** Hashes in a full tile, entries in a full bundle. */
export const TILE_WIDTH = 256

/** A tile of hashes (`level` 0–63) or a bundle of entries, by its place in the log. `width` 1–256; 256 is full. */
export type TileAddress = { readonly level: number | 'entries'; readonly index: number; readonly width: number }

/**
 * C2SP tlog-tiles path, without a leading slash: `tile/<L>/<N>[.p/<W>]`, e.g. index 1234067 at level 0 is
 * `tile/0/x001/x234/067`. Throws for an address that cannot exist.
 */
export function formatTilePath(tile: TileAddress): string {
  if (!isAddress(tile)) throw new RangeError('there is no such tile')
  const groups = [pad(tile.index % 1000)]
  for (let rest = Math.floor(tile.index / 1000); rest > 0; rest = Math.floor(rest / 1000)) groups.unshift(`x${pad(rest % 1000)}`)
  const partial = tile.width === TILE_WIDTH ? '' : `.p/${tile.width}`
  return `tile/${tile.level}/${groups.join('/')}${partial}`
}

/** Reads exactly the paths that `formatTilePath` writes; every other spelling is `undefined`. */
export function parseTilePath(path: string): TileAddress | undefined {
  const match = /^tile\/(entries|[0-9]{1,2})\/((?:x[0-9]{3}\/){0,5}[0-9]{3})(?:\.p\/([0-9]{1,3}))?$/.exec(path)
  if (match === null) return undefined
  const [, levelText = '', indexText = '', widthText] = match
  const level: TileAddress['level'] | undefined = levelText === 'entries' ? 'entries' : parseTreeSize(levelText)
  const index = Number(indexText.replaceAll(/[x/]/g, ''))
  const width = widthText === undefined ? TILE_WIDTH : parseTreeSize(widthText)
  if (level === undefined || width === undefined) return undefined
  const tile = { level, index, width }
  // One path per tile: superfluous groups and a partial width of 256 do not come back the same.
  return isAddress(tile) && formatTilePath(tile) === path ? tile : undefined
}

/** Hashes that the tile has in a tree of this size: 0 when it does not exist yet, 256 when it is full. */
export function tileWidth(level: number, index: number, size: number): number {
  const hashes = Math.floor(size / TILE_WIDTH ** level)
  return Math.max(0, Math.min(TILE_WIDTH, hashes - index * TILE_WIDTH))
}

/** Every tile of hashes that a tree of this size consists of, level by level; the last of a level may be partial. */
export function* tilesOfTree(size: number): Generator<{ level: number; index: number; width: number }> {
  for (let level = 0; tileWidth(level, 0, size) > 0; level += 1) {
    for (let index = 0; ; index += 1) {
      const width = tileWidth(level, index, size)
      if (width === 0) break
      yield { level, index, width }
    }
  }
}

function isAddress({ level, index, width }: TileAddress): boolean {
  const levelFits = level === 'entries' || (Number.isInteger(level) && level >= 0 && level <= 63)
  return levelFits && Number.isSafeInteger(index) && index >= 0 && Number.isInteger(width) && width >= 1 && width <= TILE_WIDTH
}

function pad(group: number): string {
  return String(group).padStart(3, '0')
}
