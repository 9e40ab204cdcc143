import type { KeyObject } from 'node:crypto'
import { type ApplicationId, CLOCK_SKEW, ok, type Result, refuse, type UnixSeconds } from '@caracal/core'
import { decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'

/** Algorithms that a client assertion may use: asymmetric only. */
export const ASSERTION_ALGORITHMS = ['ES256', 'EdDSA', 'RS256', 'PS256'] as const

/** RFC 7523bis: an assertion may not reach further into the future. */
const LONGEST_ASSERTION = 300

const LONGEST_ASSERTION_BYTES = 8192

/** A public key of an Application, imported once. */
export type AssertionKey = { readonly kid: string | undefined; readonly alg: string | undefined; readonly key: KeyObject }

export type AssertionClaims = { readonly jti: string; readonly expiresAt: UnixSeconds }

/** Who an assertion says it is from; not yet proven. `undefined` when it cannot be read. */
export function claimedClient(assertion: string): string | undefined {
  if (assertion.length > LONGEST_ASSERTION_BYTES) return undefined
  try {
    const { iss, sub } = decodeJwt(assertion)
    return typeof iss === 'string' && iss === sub ? iss : undefined
  } catch {
    return undefined
  }
}

/**
 * RFC 7523 §3 with 7523bis: `iss` = `sub` = the client, `aud` is exactly one of the zone's issuer spellings (a string, not a list),
 * `exp` at most five minutes ahead, `jti` present, signature by one of the Application's keys with an allowed algorithm.
 * Single use is the caller's part. Every failure is the same `invalid_client`.
 */
export async function verifyAssertion(
  assertion: string,
  expected: {
    readonly client: ApplicationId
    readonly audiences: readonly string[]
    readonly keys: readonly AssertionKey[]
    readonly now: UnixSeconds
  },
): Promise<Result<AssertionClaims, 'invalid_client'>> {
  let kid: string | undefined
  let alg: string | undefined
  try {
    const header = decodeProtectedHeader(assertion)
    kid = header.kid
    alg = header.alg
  } catch {
    return refuse('invalid_client')
  }
  for (const one of expected.keys) {
    if (kid !== undefined && one.kid !== undefined && one.kid !== kid) continue
    if (one.alg !== undefined && one.alg !== alg) continue
    const claims = await verifiedClaims(assertion, one.key, expected.now)
    if (claims === undefined) continue
    const { iss, sub, aud, exp, iat, jti } = claims
    const fits =
      iss === expected.client &&
      sub === expected.client &&
      typeof aud === 'string' &&
      expected.audiences.includes(aud) &&
      typeof exp === 'number' &&
      exp <= expected.now + LONGEST_ASSERTION + CLOCK_SKEW &&
      (iat === undefined || iat <= expected.now + CLOCK_SKEW) &&
      typeof jti === 'string' &&
      jti.length > 0 &&
      jti.length <= 256
    return fits ? ok({ jti, expiresAt: exp }) : refuse('invalid_client')
  }
  return refuse('invalid_client')
}

async function verifiedClaims(assertion: string, key: KeyObject, now: UnixSeconds) {
  try {
    const { payload } = await jwtVerify(assertion, key, {
      algorithms: [...ASSERTION_ALGORITHMS],
      clockTolerance: CLOCK_SKEW,
      currentDate: new Date(now * 1000),
    })
    return payload
  } catch {
    return undefined
  }
}
