import { decodeBase64, encodeBase64 } from './base64.ts'
import { HASH_BYTES } from './hash.ts'
import { isKeyName, type NoteSigner, type NoteVerifier } from './note-key.ts'
import { parseNote, signNote, verifyNote } from './signed-note.ts'
import { assertTreeSize, parseTreeSize } from './tree-size.ts'

/** What a log commits to: that at this size its root was this. */
export type Checkpoint = { readonly origin: string; readonly size: number; readonly root: Uint8Array }

/**
 * A public key somebody trusts for a log. Keys rotate: one that is retired stays trusted for the checkpoints of its time,
 * which is told in sizes, because sizes are signed and clocks are not.
 */
export type TrustedKey = {
  readonly verifier: NoteVerifier
  /** Smallest size it may sign; 0 when absent. */
  readonly fromSize?: number
  /** Largest size it may sign; no limit when absent. */
  readonly toSize?: number
}

export type CheckpointProblem = 'malformed' | 'wrong_origin' | 'wrong_key' | 'bad_signature'

/** A checkpoint whose signature holds and who signed it, or why it is refused. */
export type OpenedCheckpoint =
  | { readonly ok: true; readonly checkpoint: Checkpoint; readonly by: readonly NoteVerifier[] }
  | { readonly ok: false; readonly problem: CheckpointProblem; readonly detail: string }

/** The origin of a zone's log: the zone's issuer without its scheme, e.g. `sts.example.com/zones/zon_…`. */
export function logOrigin(issuerUrl: string, zone: string): string {
  const { host, pathname } = new URL(issuerUrl)
  return `${host}${pathname.replace(/\/+$/, '')}/zones/${zone}`
}

/** The text that is signed (C2SP tlog-checkpoint), without extension lines. Throws for what no log can have. */
export function formatCheckpoint({ origin, size, root }: Checkpoint): string {
  assertTreeSize(size, 'size')
  if (!isKeyName(origin) || root.length !== HASH_BYTES) throw new TypeError('the origin or the root is not one of a log')
  return `${origin}\n${size}\n${encodeBase64(root)}\n`
}

/**
 * Reads a checkpoint text. Stricter than C2SP tlog-checkpoint: extension lines are refused, because no monitor could
 * audit them and our logs never sign any.
 */
export function parseCheckpoint(text: string): Checkpoint | undefined {
  const [origin, sizeText, rootText, end, ...more] = text.split('\n')
  if (origin === undefined || sizeText === undefined || rootText === undefined || end !== '' || more.length > 0) return undefined
  const size = parseTreeSize(sizeText)
  const root = decodeBase64(rootText)
  if (!isKeyName(origin) || size === undefined || root?.length !== HASH_BYTES) return undefined
  return { origin, size, root }
}

/** Signs a checkpoint as a note. Throws when no signer is the log itself (name = origin). */
export function signCheckpoint(checkpoint: Checkpoint, signers: readonly NoteSigner[]): string {
  if (!signers.some((signer) => signer.name === checkpoint.origin)) throw new TypeError('a checkpoint is signed by the key of its own log')
  return signNote(formatCheckpoint(checkpoint), signers)
}

/**
 * Opens a signed checkpoint of exactly the log `origin`, by exactly the keys given. Nothing in the note says whom to trust;
 * a key counts only under the name of the origin and for sizes of its time.
 */
export function openCheckpoint(note: string, origin: string, keys: readonly TrustedKey[]): OpenedCheckpoint {
  const parsed = parseNote(note)
  if (parsed === undefined) return { ok: false, problem: 'malformed', detail: 'it is not a signed note' }
  const checkpoint = parseCheckpoint(parsed.text)
  if (checkpoint === undefined) return { ok: false, problem: 'malformed', detail: 'the note is not a checkpoint' }
  if (checkpoint.origin !== origin) return { ok: false, problem: 'wrong_origin', detail: `it is of ${checkpoint.origin}` }
  const ofLog = keys.filter(({ verifier }) => verifier.name === origin)
  const verdict = verifyNote(
    parsed,
    ofLog.map(({ verifier }) => verifier),
  )
  if (!verdict.ok) {
    return verdict.problem === 'bad_signature'
      ? { ok: false, problem: 'bad_signature', detail: 'the signature does not fit what is signed' }
      : { ok: false, problem: 'wrong_key', detail: 'no trusted key of the log has signed it' }
  }
  const inTime = ofLog.filter(({ fromSize = 0, toSize = Infinity }) => fromSize <= checkpoint.size && checkpoint.size <= toSize)
  const by = verdict.by.filter((verifier) => inTime.some((key) => key.verifier === verifier))
  if (by.length === 0)
    return { ok: false, problem: 'wrong_key', detail: `the key that signed it was not the log's key at size ${checkpoint.size}` }
  return { ok: true, checkpoint, by }
}
