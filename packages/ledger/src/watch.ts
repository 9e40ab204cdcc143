import { type Checkpoint, openCheckpoint, type TrustedKey } from './checkpoint.ts'
import { sameHash } from './hash.ts'
import { type Proof, verifyConsistency } from './proof.ts'

/**
 * - `ok`: it extends what was seen; remember it.
 * - `rollback`: it is smaller than what was seen: the log was cut, or an old answer was served.
 * - `fork`: it is not shown to extend what was seen. With equal sizes and different roots, the two notes together prove it.
 * - `wrong_origin`, `bad_signature`: it is no checkpoint of this log (malformed notes and foreign keys included).
 */
export type WatchVerdict = 'ok' | 'rollback' | 'fork' | 'wrong_origin' | 'bad_signature'

export type Watched = { readonly verdict: WatchVerdict; readonly detail: string; readonly checkpoint?: Checkpoint }

/**
 * Compares a new checkpoint with the last one seen, which was verified when it was seen. Without `seen` (first contact)
 * only origin and signature are checked. `proof` is the consistency proof from `seen.size` to the new size.
 */
export function watch(look: {
  readonly seen?: Checkpoint | undefined
  readonly note: string
  readonly proof: Proof
  readonly origin: string
  readonly keys: readonly TrustedKey[]
}): Watched {
  const { seen, note, proof, origin, keys } = look
  const opened = openCheckpoint(note, origin, keys)
  if (!opened.ok) return { verdict: opened.problem === 'wrong_origin' ? 'wrong_origin' : 'bad_signature', detail: opened.detail }
  const { checkpoint } = opened
  if (seen === undefined) return { verdict: 'ok', detail: 'first checkpoint seen', checkpoint }
  if (seen.origin !== origin) return { verdict: 'wrong_origin', detail: `the last one seen is of ${seen.origin}`, checkpoint }
  if (checkpoint.size < seen.size) {
    return { verdict: 'rollback', detail: `size ${checkpoint.size} after ${seen.size}`, checkpoint }
  }
  if (checkpoint.size === seen.size) {
    return sameHash(checkpoint.root, seen.root)
      ? { verdict: 'ok', detail: 'nothing new', checkpoint }
      : { verdict: 'fork', detail: `two roots at size ${seen.size}`, checkpoint }
  }
  return verifyConsistency({ older: seen, newer: checkpoint, proof })
    ? { verdict: 'ok', detail: `extends size ${seen.size}`, checkpoint }
    : { verdict: 'fork', detail: `not shown to extend size ${seen.size}`, checkpoint }
}
