/** The log of 41 events that the tests of the bundle write, spoil and verify. */
import { createHash, generateKeyPairSync } from 'node:crypto'
import { canonicalJson } from '@caracal/core'
import { type BundleLine, type EventLine, formatBundleLine, type ManifestLine, parseBundleLine } from './bundle-line.ts'
import {
  appendLeaves,
  type BundleParts,
  type BundleTrust,
  EMPTY_FRONTIER,
  leafHash,
  noteSigner,
  type Selection,
  signCheckpoint,
  tilesInMemory,
  verifyBundle,
  writeBundle,
} from './index.ts'

export const ZONE = 'zon_01h455vb4pex5vsknk084sn02q'
export const ORIGIN = `sts.example.com/zones/${ZONE}`
export const log = noteSigner(ORIGIN, generateKeyPairSync('ed25519').privateKey)
export const impostor = noteSigner(ORIGIN, generateKeyPairSync('ed25519').privateKey)
export const SIZE = 41
export const eventAt = (i: number, zone = ZONE) =>
  canonicalJson({ v: 1, id: `evt_${i}`, zone, type: 'call.allowed', details: { note: 'naïve “ünï”\n\u2028 😀' } })
export const events = Array.from({ length: SIZE }, (_, i) => eventAt(i))
export const leaves = events.map((event) => leafHash(Buffer.from(event)))
export const rootOf = (size: number, from = leaves) => appendLeaves(EMPTY_FRONTIER, from.slice(0, size)).root
export const signed = (size: number, root = rootOf(size), signer = log) => signCheckpoint({ origin: signer.name, size, root }, [signer])
export const whole: Selection = { kind: 'range', from: 0, to: SIZE }
export const part: Selection = { kind: 'range', from: 7, to: 30 }
export const single: Selection = { kind: 'events', indexes: [19] }
export const several: Selection = { kind: 'events', indexes: [2, 19, 40] }

export const indexesOf = (selection: Selection) =>
  selection.kind === 'events' ? selection.indexes : leaves.map((_, i) => i).slice(selection.from, selection.to)

export async function bundle(selection: Selection, more: Partial<BundleParts> = {}): Promise<string> {
  const parts: BundleParts = {
    checkpoint: signed(SIZE),
    keys: [log],
    selection,
    events: indexesOf(selection).map((index) => ({ index, event: events[index] ?? '' })),
    source: tilesInMemory(leaves),
    ...more,
  }
  let text = ''
  for await (const line of writeBundle(parts)) text += line
  return text
}

export const check = (text: string | Uint8Array, trust: Partial<BundleTrust> = {}) =>
  verifyBundle(Buffer.from(text), { keys: [{ verifier: log }], ...trust })
export const kinds = async (text: string, trust: Partial<BundleTrust> = {}) =>
  [...new Set((await check(text, trust)).findings.map(({ kind }) => kind))].sort()

export function linesOf(text: string): BundleLine[] {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => {
      const parsed = parseBundleLine(line)
      if (parsed === undefined) throw new Error('the bundle does not read')
      return parsed
    })
}

/** Writes lines as an attacker would who knows the format: with an end line made anew. */
export function sealed(lines: readonly BundleLine[]): string {
  const body = lines.filter(({ kind }) => kind !== 'end').map(formatBundleLine)
  const sha256 = createHash('sha256').update(body.join('')).digest('hex')
  return body.join('') + formatBundleLine({ kind: 'end', lines: body.length, sha256 })
}

/** Changes the event lines of a bundle and seals it again. */
export async function withEvents(
  selection: Selection,
  change: (events: EventLine[]) => EventLine[],
  manifest: Partial<ManifestLine> = {},
): Promise<string> {
  const lines = linesOf(await bundle(selection)).map((line) => (line.kind === 'manifest' ? { ...line, ...manifest } : line))
  const isEvent = (line: BundleLine): line is EventLine => line.kind === 'event'
  return sealed([...lines.filter((line) => !isEvent(line)), ...change(lines.filter(isEvent))])
}

export async function withLines(
  selection: Selection,
  change: (line: BundleLine) => BundleLine[],
  more: Partial<BundleParts> = {},
): Promise<string> {
  return sealed(linesOf(await bundle(selection, more)).flatMap(change))
}
