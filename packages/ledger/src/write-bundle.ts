import { createHash } from 'node:crypto'
import { encodeBase64 } from './base64.ts'
import { BUNDLE_FORMAT, type BundleLine, encodeProof, formatBundleLine, type Selection } from './bundle-line.ts'
import { parseCheckpoint } from './checkpoint.ts'
import { leafHash, sha256 } from './hash.ts'
import { formatVerifierKey, type NoteVerifier } from './note-key.ts'
import { consistencyProof, inclusionProof } from './proof.ts'
import { parseNote } from './signed-note.ts'
import { subtreeReader, type TileSource } from './tile-source.ts'
import { perfectSubtrees } from './tree-size.ts'

export type BundleParts = {
  /** The signed note to prove against. */
  readonly checkpoint: string
  /** Every key the log ever had, oldest first. */
  readonly keys: readonly NoteVerifier[]
  readonly selection: Selection
  /** Exactly the selected events, ascending by index; `event` is the exact text that was hashed. */
  readonly events:
    | AsyncIterable<{ readonly index: number; readonly event: string }>
    | Iterable<{ readonly index: number; readonly event: string }>
  /** Signed notes published before, not larger than the checkpoint. */
  readonly earlier?: readonly string[]
  readonly attachments?: readonly { readonly name: string; readonly text: string }[]
  /** The tree of the log, at least as large as the checkpoint. */
  readonly source: TileSource
}

/**
 * Writes an evidence bundle line by line (format: `bundle-line.ts`), in memory bounded by one event and its proof.
 * Throws when the parts do not fit together: the events are not the selected ones, a note is malformed, a tile is missing.
 * It does not judge them otherwise; that is what the verifier is for.
 */
export async function* writeBundle(parts: BundleParts): AsyncGenerator<string> {
  const digest = createHash('sha256')
  let lines = 0
  const line = (content: BundleLine) => {
    const written = formatBundleLine(content)
    digest.update(written)
    lines += 1
    return written
  }
  const { selection, source } = parts
  const { origin, size, root } = readNote(parts.checkpoint)
  const expected = selectedIndexes(selection)
  if (expected.some((index) => index >= size)) throw new RangeError('the selection goes past the checkpoint')
  const count = expected.count

  yield line({
    kind: 'manifest',
    format: BUNDLE_FORMAT,
    origin,
    selection,
    count,
    checkpoint: { size, root: encodeBase64(root) },
    hash: 'sha-256/rfc9162',
  })
  for (const key of parts.keys) yield line({ kind: 'key', vkey: formatVerifierKey(key) })
  yield line({ kind: 'checkpoint', note: parts.checkpoint })
  for (const note of parts.earlier ?? []) {
    yield line({ kind: 'earlier', note, proof: encodeProof(await consistencyProof(source, readNote(note).size, size)) })
  }
  for (const { name, text } of parts.attachments ?? []) {
    yield line({ kind: 'attachment', name, text, sha256: Buffer.from(sha256(Buffer.from(text))).toString('hex') })
  }
  if (selection.kind === 'range') {
    const read = subtreeReader(source, size)
    const left = await Promise.all(perfectSubtrees(0, selection.from).map(read))
    const right = await Promise.all(perfectSubtrees(selection.to, size).map(read))
    yield line({ kind: 'range', left: encodeProof(left), right: encodeProof(right) })
  }
  let written = 0
  for await (const { index, event } of parts.events) {
    if (index !== expected.at(written)) throw new Error(`event ${index} is not the next one of the selection`)
    const leaf = encodeBase64(leafHash(Buffer.from(event)))
    const proof = selection.kind === 'events' ? { proof: encodeProof(await inclusionProof(source, index, size)) } : {}
    yield line({ kind: 'event', index, leaf, event, ...proof })
    written += 1
  }
  if (written !== count) throw new Error(`${count} events are selected, ${written} came`)
  yield formatBundleLine({ kind: 'end', lines, sha256: digest.digest('hex') })
}

function readNote(note: string) {
  const parsed = parseNote(note)
  const checkpoint = parsed === undefined ? undefined : parseCheckpoint(parsed.text)
  if (checkpoint === undefined) throw new TypeError('the note is not a signed checkpoint')
  return checkpoint
}

function selectedIndexes(selection: Selection) {
  if (selection.kind === 'range') {
    const { from, to } = selection
    if (from > to) throw new RangeError('the range ends before it begins')
    return {
      count: to - from,
      at: (n: number) => (n < to - from ? from + n : undefined),
      some: (test: (index: number) => boolean) => to > from && test(to - 1),
    }
  }
  const { indexes } = selection
  if (indexes.some((index, i) => i > 0 && index <= (indexes[i - 1] ?? -1))) throw new RangeError('the indexes do not ascend')
  return { count: indexes.length, at: (n: number) => indexes[n], some: (test: (index: number) => boolean) => indexes.some(test) }
}
