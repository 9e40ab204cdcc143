import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { findKey, type KeyRing, type RingKey } from './key-ring.ts'
import { lengthPrefixed } from './length-prefixed.ts'
import { KEY_BYTES } from './weak-key.ts'

/** Where a sealed value lives. It opens only there: moved, swapped or older envelopes fail (P-082). */
export type SealPlace = {
  readonly zone: string
  readonly table: string
  readonly row: string
  readonly column: string
  /** Version of the row that carries it; a value written earlier does not open in a later one. */
  readonly version: number
}

/** `csv1.<key id>.<wrapped data key>.<ciphertext>`, both parts as base64url of nonce, ciphertext and tag. */
export type Envelope = `csv1.${string}`

export type Unsealed =
  | { readonly ok: true; readonly value: Buffer }
  | { readonly ok: false; readonly problem: 'malformed' | 'unknown_key' | 'not_authentic' }

const NONCE_BYTES = 12
const TAG_BYTES = 16
const FORM = /^csv1\.([0-9a-f]{8})\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)$/

/** Where the random bytes of keys and nonces come from. */
export type RandomSource = (bytes: number) => Uint8Array

/**
 * AES-256-GCM under a fresh data key, which the ring's current key wraps. The place is authenticated with both layers.
 * `random` comes in for tests of the format only.
 */
export function seal(ring: KeyRing, place: SealPlace, secret: Uint8Array | string, random: RandomSource = randomBytes): Envelope {
  const dataKey = random(KEY_BYTES)
  const body = encrypt(dataKey, aad(place, 'value'), typeof secret === 'string' ? Buffer.from(secret, 'utf8') : secret, random)
  return envelope(ring.current, place, dataKey, body, random)
}

/** Tries the key that the envelope names and no other. */
export function unseal(ring: KeyRing, place: SealPlace, text: string): Unsealed {
  const parts = unwrap(ring, place, text)
  if (!parts.ok) return parts
  const value = decrypt(parts.dataKey, aad(place, 'value'), parts.body)
  return value === null ? { ok: false, problem: 'not_authentic' } : { ok: true, value }
}

/** The same for text. */
export function unsealText(
  ring: KeyRing,
  place: SealPlace,
  text: string,
): { readonly ok: true; readonly value: string } | (Unsealed & { ok: false }) {
  const opened = unseal(ring, place, text)
  return opened.ok ? { ok: true, value: opened.value.toString('utf8') } : opened
}

/** Id of the key that wrapped it, for the progress of a rotation; `null` when it is no envelope. */
export function envelopeKeyId(text: string): string | null {
  return FORM.exec(text)?.[1] ?? null
}

/**
 * The value anew under the current key, fresh data key included, for the place it will stand at (a rotation that counts
 * the row's version up gives the new version in `to`).
 */
export function reseal(
  ring: KeyRing,
  from: SealPlace,
  to: SealPlace,
  text: string,
): { readonly ok: true; readonly value: Envelope } | (Unsealed & { ok: false }) {
  const opened = unseal(ring, from, text)
  return opened.ok ? { ok: true, value: seal(ring, to, opened.value) } : opened
}

function envelope(key: RingKey, place: SealPlace, dataKey: Uint8Array, body: Buffer, random: RandomSource): Envelope {
  const wrapped = encrypt(key.bytes, aad(place, `key ${key.id}`), dataKey, random)
  return `csv1.${key.id}.${wrapped.toString('base64url')}.${body.toString('base64url')}`
}

type Unwrapped = { readonly ok: true; readonly dataKey: Buffer; readonly body: Buffer } | (Unsealed & { ok: false })

function unwrap(ring: KeyRing, place: SealPlace, text: string): Unwrapped {
  const [, id, wrapped, body] = FORM.exec(text) ?? []
  if (id === undefined || wrapped === undefined || body === undefined) return { ok: false, problem: 'malformed' }
  const key = findKey(ring, id)
  if (key === null) return { ok: false, problem: 'unknown_key' }
  const dataKey = decrypt(key.bytes, aad(place, `key ${id}`), Buffer.from(wrapped, 'base64url'))
  if (dataKey === null || dataKey.length !== KEY_BYTES) return { ok: false, problem: 'not_authentic' }
  return { ok: true, dataKey, body: Buffer.from(body, 'base64url') }
}

function aad(place: SealPlace, layer: string): Buffer {
  return lengthPrefixed(['caracal/seal/v1', layer, place.zone, place.table, place.row, place.column, String(place.version)])
}

function encrypt(key: Uint8Array, associated: Buffer, plain: Uint8Array, random: RandomSource): Buffer {
  const nonce = random(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES }).setAAD(associated)
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

function decrypt(key: Uint8Array, associated: Buffer, bytes: Buffer): Buffer | null {
  if (bytes.length < NONCE_BYTES + TAG_BYTES) return null
  const nonce = bytes.subarray(0, NONCE_BYTES)
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES }).setAAD(associated)
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES))
  try {
    return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()])
  } catch {
    return null
  }
}
