import { hash, verify as verifySignature } from 'node:crypto'
import {
  type EventCredential,
  type MandateClaims,
  ok,
  parseScopes,
  type Result,
  refuse,
  revocableIds,
  type Scope,
  type UnixSeconds,
  type ZoneId,
} from '@caracal/core'
import type { OneTimeUse } from '../caller/proven-caller.ts'
import { type CompactJws, MAX_TOKEN_LENGTH, parseJws } from './parse-jws.ts'
import { checkTimes, readClaims } from './read-claims.ts'
import type { Refetched } from './refetch-keys.ts'
import type { ZoneKeyring } from './zone-keyring.ts'

/** A mandate whose signature, form, issuer and times hold. Nothing is said yet about audience, revocation or policy. */
export type Mandate = {
  readonly claims: MandateClaims
  readonly scopes: ReadonlySet<Scope>
  /** Every id whose revocation ends it. */
  readonly revocable: readonly string[]
  /** Set when nobody signed it: the caller proved itself with this key (`mandateOfCaller`). */
  readonly credential?: EventCredential
  /** With `credential`: what the call uses up in the place of the mandate's own id. Null: nothing. */
  readonly use?: OneTimeUse | null
}

export type MandateRefusal = 'invalid_token' | 'token_expired' | 'token_not_yet_valid' | 'keys_unavailable'

export type MandateVerifier = {
  /** Verifies at `now`, from memory when the same token was verified before with the same keys. */
  readonly verify: (token: string, now: UnixSeconds) => Promise<Result<Mandate, MandateRefusal>>
  /** Whether this very token was verified before and is still held: it costs no signature to know it again. */
  readonly knows: (token: string) => boolean
  /** Verified tokens held at the moment. */
  readonly cached: () => number
}

export type VerifierOptions = {
  /** The keyring of a known zone. An unknown zone refuses, whatever the token claims (P-012). */
  readonly keyring: (zone: ZoneId) => ZoneKeyring | undefined
  /** Called when a known zone has no such key, at most once for each verification; see `keyRefetcher`. */
  readonly refetch?: ((zone: ZoneId) => Promise<Refetched>) | undefined
  /** Verified tokens kept, least recently used first out. Each costs about 2 KiB. */
  readonly capacity?: number
}

const HEADER_MEMBERS = new Set(['typ', 'alg', 'kid'])

/**
 * Verifies mandates: RFC 9068 §4 with the pins of RFC 8725. Header exactly `typ: at+jwt`, `alg: ES256` and `kid`: so no `none`,
 * no HMAC, no `jku`, `x5u`, `jwk`, `crit`. Every claim is required and typed; `iss` is byte-equal to an issuer of the zone that
 * `zone` names. Verified tokens are cached by their SHA-256 and the keyring they were verified with, until `exp` (P-075);
 * audience and revocation are the caller's to check at each use.
 */
export function mandateVerifier(options: VerifierOptions): MandateVerifier {
  const capacity = options.capacity ?? 20_000
  const cache = new Map<string, { readonly mandate: Mandate; readonly keyring: ZoneKeyring }>()

  let last = { token: '', digest: '' }

  /** A call asks for the digest of its token twice in a row. */
  function digestOf(token: string): string {
    if (last.token !== token) last = { token, digest: hash('sha256', token, 'base64url') }
    return last.digest
  }

  function recall(digest: string, now: UnixSeconds): Result<Mandate, MandateRefusal> | null {
    const hit = cache.get(digest)
    if (hit === undefined) return null
    cache.delete(digest)
    if (options.keyring(hit.mandate.claims.zone) !== hit.keyring) return null
    const inForce = checkTimes(hit.mandate.claims, now)
    if (!inForce.ok) return inForce
    cache.set(digest, hit)
    return ok(hit.mandate)
  }

  function remember(digest: string, mandate: Mandate, keyring: ZoneKeyring): void {
    cache.set(digest, { mandate, keyring })
    if (cache.size <= capacity) return
    const [oldest] = cache.keys()
    if (oldest !== undefined) cache.delete(oldest)
  }

  return {
    async verify(token, now) {
      if (token.length > MAX_TOKEN_LENGTH) return refuse('invalid_token', 'too long')
      const digest = digestOf(token)
      const recalled = recall(digest, now)
      if (recalled !== null) return recalled

      const jws = parseJws(token)
      if (!jws.ok) return jws
      const kid = pinnedKeyId(jws.value)
      if (!kid.ok) return kid
      const claims = readClaims(jws.value.payload)
      if (!claims.ok) return claims

      const keyring = await keyringWith(options, claims.value.zone, kid.value)
      if (!keyring.ok) return keyring
      if (!keyring.value.issuers.has(claims.value.iss)) return refuse('invalid_token', 'iss')
      if (!signedBy(keyring.value, kid.value, jws.value)) return refuse('invalid_token', 'signature')
      const inForce = checkTimes(claims.value, now)
      if (!inForce.ok) return inForce
      const scopes = parseScopes(claims.value.scope)
      if (!scopes.ok) return refuse('invalid_token', 'scope')

      const mandate = { claims: claims.value, scopes: scopes.value, revocable: revocableIds(claims.value) }
      // One that is used once is not asked for again: it would only push out others.
      if (mandate.claims.once !== true) remember(digest, mandate, keyring.value)
      return ok(mandate)
    },
    knows: (token) => token.length <= MAX_TOKEN_LENGTH && cache.has(digestOf(token)),
    cached: () => cache.size,
  }
}

function pinnedKeyId(jws: CompactJws): Result<string, 'invalid_token'> {
  const { typ, alg, kid } = jws.header
  if (typ !== 'at+jwt') return refuse('invalid_token', 'typ')
  if (alg !== 'ES256') return refuse('invalid_token', 'alg')
  if (typeof kid !== 'string' || kid === '' || kid.length > 128) return refuse('invalid_token', 'kid')
  for (const name of Object.keys(jws.header)) if (!HEADER_MEMBERS.has(name)) return refuse('invalid_token', 'header')
  return ok(kid)
}

/** The zone's keyring, asked for anew once when it lacks the key. */
async function keyringWith(
  options: VerifierOptions,
  zone: ZoneId,
  kid: string,
): Promise<Result<ZoneKeyring, 'invalid_token' | 'keys_unavailable'>> {
  const known = options.keyring(zone)
  if (known === undefined) return refuse('invalid_token', 'zone')
  if (known.keys.has(kid)) return ok(known)
  const outcome = options.refetch === undefined ? 'cooling' : await options.refetch(zone)
  const anew = options.keyring(zone)
  if (anew?.keys.has(kid)) return ok(anew)
  return outcome === 'unavailable' ? refuse('keys_unavailable') : refuse('invalid_token', 'kid')
}

function signedBy(keyring: ZoneKeyring, kid: string, jws: CompactJws): boolean {
  const key = keyring.keys.get(kid)
  if (key === undefined || jws.signature.length !== 64) return false
  return verifySignature('sha256', Buffer.from(jws.signingInput), { key, dsaEncoding: 'ieee-p1363' }, jws.signature)
}
