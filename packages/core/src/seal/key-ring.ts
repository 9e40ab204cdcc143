import { createHash } from 'node:crypto'
import { KEY_BYTES, keyWeakness } from './weak-key.ts'

/** A key and the public name that what it made carries. */
export type RingKey = { readonly id: string; readonly bytes: Uint8Array }

/** The key that makes, and during a rotation the one that only reads. */
export type KeyRing = { readonly current: RingKey; readonly previous: RingKey | null }

export type KeyRingResult = { readonly ok: true; readonly value: KeyRing } | { readonly ok: false; readonly problem: string }

/**
 * A ring from keys of 64 hex characters, as configuration carries them. A weak key is refused with the reason, never with
 * the key (P-083).
 */
export function parseKeyRing(keys: { readonly current: string; readonly previous?: string | undefined }): KeyRingResult {
  const current = parseKey(keys.current)
  if (typeof current === 'string') return { ok: false, problem: `the key ${current}` }
  if (keys.previous === undefined || keys.previous === '') return { ok: true, value: { current, previous: null } }
  const previous = parseKey(keys.previous)
  if (typeof previous === 'string') return { ok: false, problem: `the previous key ${previous}` }
  if (previous.id === current.id) return { ok: false, problem: 'the previous key equals the current one' }
  return { ok: true, value: { current, previous } }
}

/** A ring from bytes made here (embedded mode, tests). Throws on a weak key: that is a bug of the caller. */
export function keyRing(current: Uint8Array, previous?: Uint8Array): KeyRing {
  for (const key of previous === undefined ? [current] : [current, previous]) {
    const weakness = keyWeakness(key)
    if (weakness !== null) throw new TypeError(`a key ${weakness}`)
  }
  return { current: named(current), previous: previous === undefined ? null : named(previous) }
}

/** The key of this id, if the ring holds it. */
export function findKey(ring: KeyRing, id: string): RingKey | null {
  if (ring.current.id === id) return ring.current
  return ring.previous?.id === id ? ring.previous : null
}

function parseKey(hex: string): RingKey | string {
  const text = hex.trim()
  if (!/^(?:[0-9a-f]{2})*$/i.test(text)) return 'is not hex'
  const bytes = Buffer.from(text, 'hex')
  return keyWeakness(bytes) ?? named(bytes)
}

/** First 8 hex characters of the SHA-256: names the key without telling it. */
function named(bytes: Uint8Array): RingKey {
  if (bytes.length !== KEY_BYTES) throw new TypeError(`a key has ${KEY_BYTES} bytes`)
  return { id: createHash('sha256').update(bytes).digest('hex').slice(0, 8), bytes }
}
