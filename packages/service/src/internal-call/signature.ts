import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'
import { deriveKey, type KeyRing, macText, type RingKey, verifyMacText } from '@caracal/core'

/** What one internal request says about itself. */
export type SignedParts = {
  readonly caller: string
  readonly method: string
  /** Path and query exactly as sent. */
  readonly path: string
  /** Unix milliseconds as sent. */
  readonly timestamp: string
  readonly nonce: string
}

export const CALLER = 'x-caracal-caller'
export const TIMESTAMP = 'x-caracal-timestamp'
export const NONCE = 'x-caracal-nonce'
export const SIGNATURE = 'x-caracal-signature'

/** Media type of a sealed body. */
export const SEALED_TYPE = 'application/vnd.caracal.sealed'

/** HMAC-SHA-256 over the length-prefixed parts and the SHA-256 of the body, base64url. */
export function signRequest(key: RingKey, parts: SignedParts, body: Uint8Array): string {
  return macText(purpose(key), requestFields(parts, body))
}

/** Which key of the ring signed the request. */
export function requestKey(ring: KeyRing, parts: SignedParts, body: Uint8Array, signature: string): RingKey | undefined {
  return signer(ring, requestFields(parts, body), signature)
}

/** An answer is bound to the nonce it answers and to its status, so that it can neither be made up nor swapped. */
export function signAnswer(key: RingKey, nonce: string, status: number, body: Uint8Array): string {
  return macText(purpose(key), answerFields(nonce, status, body))
}

/** Which key of the ring signed the answer. */
export function answerKey(ring: KeyRing, nonce: string, status: number, body: Uint8Array, signature: string): RingKey | undefined {
  return signer(ring, answerFields(nonce, status, body), signature)
}

/** AES-256-GCM under a key derived from the shared one: 12 bytes IV, ciphertext, 16 bytes tag. */
export function sealBody(key: RingKey, context: SealContext, plain: Uint8Array): Buffer {
  const iv = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', deriveKey(key.bytes, 'internal-body', context.direction), iv)
  cipher.setAAD(Buffer.from(context.bound))
  return Buffer.concat([iv, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

/** Undefined when it was not sealed for this direction and context under this key. */
export function openBody(key: RingKey, context: SealContext, sealed: Uint8Array): Buffer | undefined {
  if (sealed.length < 28) return undefined
  const decipher = createDecipheriv('aes-256-gcm', deriveKey(key.bytes, 'internal-body', context.direction), sealed.subarray(0, 12))
  decipher.setAAD(Buffer.from(context.bound))
  decipher.setAuthTag(sealed.subarray(sealed.length - 16))
  try {
    return Buffer.concat([decipher.update(sealed.subarray(12, sealed.length - 16)), decipher.final()])
  } catch {
    return undefined
  }
}

/** What a sealed body belongs to: it opens nowhere else. */
export type SealContext = { readonly direction: 'request' | 'answer'; readonly bound: string }

export function requestContext(parts: Pick<SignedParts, 'path' | 'nonce'>): SealContext {
  return { direction: 'request', bound: `${parts.path} ${parts.nonce}` }
}

export function answerContext(nonce: string, status: number): SealContext {
  return { direction: 'answer', bound: `${status} ${nonce}` }
}

function requestFields(parts: SignedParts, body: Uint8Array): (string | Uint8Array)[] {
  return ['request', parts.caller, parts.method, parts.path, parts.timestamp, parts.nonce, digest(body)]
}

function answerFields(nonce: string, status: number, body: Uint8Array): (string | Uint8Array)[] {
  return ['answer', nonce, String(status), digest(body)]
}

function signer(ring: KeyRing, fields: readonly (string | Uint8Array)[], signature: string): RingKey | undefined {
  for (const key of [ring.current, ring.previous]) {
    if (key !== null && verifyMacText(purpose(key), fields, signature)) return key
  }
  return undefined
}

function purpose(key: RingKey): KeyRing {
  return { current: { id: key.id, bytes: deriveKey(key.bytes, 'internal-call') }, previous: null }
}

function digest(body: Uint8Array): Buffer {
  return createHash('sha256').update(body).digest()
}
