import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

/** Stands in for the pepper of a zone that does not exist, so that unknown clients cost what known ones cost (P-006). */
const NO_PEPPER = randomBytes(32)

/** Stands in for the digests of a client that does not exist. */
const NO_DIGEST = randomBytes(32)

/** HMAC-SHA-256 of a client secret under the zone's pepper, lower-case hex. Secrets carry 256 random bits: no slow hash is needed (P-007). */
export function digestClientSecret(pepper: Uint8Array, secret: string): string {
  return createHmac('sha256', pepper).update(secret, 'utf8').digest('hex')
}

/**
 * Whether the secret is one of these (hex digests). Takes the same work for no digest, one or two, and for an unknown zone:
 * always one HMAC and two comparisons.
 */
export function matchesSecret(pepper: Uint8Array | undefined, digests: readonly string[], secret: string): boolean {
  const given = createHmac('sha256', pepper ?? NO_PEPPER)
    .update(secret, 'utf8')
    .digest()
  let found = false
  for (let at = 0; at < Math.max(2, digests.length); at += 1) {
    const hex = digests[at]
    const stored = hex === undefined ? NO_DIGEST : Buffer.from(hex, 'hex')
    if (stored.length === given.length && timingSafeEqual(stored, given) && hex !== undefined) found = true
  }
  return found && pepper !== undefined
}
