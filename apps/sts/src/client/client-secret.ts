import { createHmac, hash, randomBytes, timingSafeEqual } from 'node:crypto'

/** Stands in for the pepper of a zone that does not exist, so that unknown clients cost what known ones cost (P-006). */
const NO_PEPPER = randomBytes(32)

/** Stands in for the digests of a client that does not exist. Lower-case hex. */
const NO_DIGEST = randomBytes(32).toString('hex')

/** HMAC-SHA-256 of a client secret under the zone's pepper, lower-case hex. Secrets carry 256 random bits: no slow hash is needed (P-007). */
export function digestClientSecret(pepper: Uint8Array, secret: string): string {
  return createHmac('sha256', pepper).update(secret, 'utf8').digest('hex')
}

/**
 * Whether the secret is one of these (hex digests). Takes the same work for no digest, one or two, and for an unknown zone:
 * always one HMAC and two comparisons.
 */
export function matchesSecret(pepper: Uint8Array | undefined, digests: readonly string[], secret: string): boolean {
  const given = digestAtOnce(pepper ?? NO_PEPPER, secret)
  let found = false
  for (let at = 0; at < Math.max(2, digests.length); at += 1) {
    const digest = digests[at]
    if (sameText(given, digest ?? NO_DIGEST) && digest !== undefined) found = true
  }
  return found && pepper !== undefined
}

/** SHA-256 works on blocks of so many bytes. */
const BLOCK = 64
const DIGEST = 32
/** Client secrets have 47 characters; what is longer than this is somebody's try. Bytes. */
const LONGEST = 512

/** The two messages that are hashed for a pepper, their first block filled in (RFC 2104 §2). */
type Pads = { readonly inner: Buffer; readonly outer: Buffer }

const padsOf = new WeakMap<Uint8Array, Pads>()

/** As `digestClientSecret`, without the objects that a streaming HMAC makes for each message. */
function digestAtOnce(pepper: Uint8Array, secret: string): string {
  if (pepper.length > BLOCK || secret.length * 3 > LONGEST) return digestClientSecret(pepper, secret)
  let pads = padsOf.get(pepper)
  if (pads === undefined) {
    pads = { inner: Buffer.alloc(BLOCK + LONGEST, 0x36), outer: Buffer.alloc(BLOCK + DIGEST, 0x5c) }
    for (const [at, byte] of pepper.entries()) {
      pads.inner[at] = byte ^ 0x36
      pads.outer[at] = byte ^ 0x5c
    }
    padsOf.set(pepper, pads)
  }
  const { inner, outer } = pads
  const end = BLOCK + inner.write(secret, BLOCK, 'utf8')
  outer.write(hash('sha256', inner.subarray(0, end), 'hex'), BLOCK, 'hex')
  inner.fill(0, BLOCK, end)
  return hash('sha256', outer, 'hex')
}

const left = Buffer.alloc(2 * DIGEST)
const right = Buffer.alloc(2 * DIGEST)

/** Whether two digests are the same, in a time that does not tell how much of them is. */
function sameText(given: string, stored: string): boolean {
  if (stored.length !== left.length) return false
  left.write(given, 'latin1')
  right.write(stored, 'latin1')
  return timingSafeEqual(left, right)
}
