import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'

/** The key that signs, and the one before it, which is still believed while replicas change over. */
export type InternalKeys = { readonly current: Uint8Array; readonly previous?: Uint8Array | undefined }

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

/** HMAC-SHA-256 over the length-prefixed parts and the SHA-256 of the body. */
export function signRequest(key: Uint8Array, parts: SignedParts, body: Uint8Array): Buffer {
  return mac(key, ['request', parts.caller, parts.method, parts.path, parts.timestamp, parts.nonce], body)
}

/** An answer is bound to the nonce it answers and to its status, so that it can neither be made up nor swapped. */
export function signAnswer(key: Uint8Array, nonce: string, status: number, body: Uint8Array): Buffer {
  return mac(key, ['answer', nonce, String(status)], body)
}

function mac(key: Uint8Array, texts: readonly string[], body: Uint8Array): Buffer {
  const hmac = createHmac('sha256', key)
  const prefix = Buffer.alloc(4)
  const add = (part: Uint8Array) => {
    prefix.writeUInt32BE(part.length)
    hmac.update(prefix).update(part)
  }
  for (const text of texts) add(Buffer.from(text))
  add(createHash('sha256').update(body).digest())
  return hmac.digest()
}

/** Which of the keys made this signature; constant time for each. */
export function keyOf(keys: InternalKeys, signature: string, make: (key: Uint8Array) => Buffer): Uint8Array | undefined {
  const given = Buffer.from(signature, 'base64url')
  for (const key of [keys.current, keys.previous]) {
    if (key === undefined) continue
    const expected = make(key)
    if (given.length === expected.length && timingSafeEqual(given, expected)) return key
  }
  return undefined
}

/** AES-256-GCM under a key derived from the shared one: 12 bytes IV, ciphertext, 16 bytes tag. */
export function sealBody(key: Uint8Array, direction: 'request' | 'answer', context: string, plain: Uint8Array): Buffer {
  const iv = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', bodyKey(key, direction), iv)
  cipher.setAAD(Buffer.from(context))
  return Buffer.concat([iv, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

/** Undefined when it was not sealed for this direction and context under this key. */
export function openBody(key: Uint8Array, direction: 'request' | 'answer', context: string, sealed: Uint8Array): Buffer | undefined {
  if (sealed.length < 28) return undefined
  const decipher = createDecipheriv('aes-256-gcm', bodyKey(key, direction), sealed.subarray(0, 12))
  decipher.setAAD(Buffer.from(context))
  decipher.setAuthTag(sealed.subarray(sealed.length - 16))
  try {
    return Buffer.concat([decipher.update(sealed.subarray(12, sealed.length - 16)), decipher.final()])
  } catch {
    return undefined
  }
}

/** Media type of a sealed body. */
export const SEALED_TYPE = 'application/vnd.caracal.sealed'

function bodyKey(key: Uint8Array, direction: 'request' | 'answer'): Buffer {
  return Buffer.from(hkdfSync('sha256', key, '', `caracal internal body ${direction} v1`, 32))
}
