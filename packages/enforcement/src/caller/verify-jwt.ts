import { hash, verify as verifySignature } from 'node:crypto'
import { ok, type Result, refuse, type Seconds, type UnixSeconds } from '@caracal/core'
import { type CompactJws, MAX_TOKEN_LENGTH, parseJws } from '../mandate/parse-jws.ts'
import { type JwtAlgorithm, type JwtKey, verification } from './jwt-keys.ts'

export type JwtRules = {
  /** The one algorithm, whatever a header says (RFC 8725 §3.1). */
  readonly algorithm: JwtAlgorithm
  /** Undefined: any. */
  readonly issuer?: string | undefined
  readonly audience?: string | undefined
  /** How far clocks may differ. */
  readonly skew: Seconds
  /** The claim that names the application; undefined: the first there is of `client_id`, `azp`, `sub`. */
  readonly applicationClaim?: string | undefined
}

/** What a verified token says, as far as it counts here. */
export type VerifiedJwt = {
  /** Whom the token was given to: id or name of an application. */
  readonly application: string
  readonly keyId: string
  readonly exp: UnixSeconds
  readonly nbf: UnixSeconds | undefined
  readonly iat: UnixSeconds | undefined
  readonly jti: string | undefined
  readonly iss: string | undefined
}

export type JwtVerifier = {
  readonly verify: (token: string, now: UnixSeconds) => Result<VerifiedJwt, 'invalid_client'>
  /** Whether this very token was verified before and is still held. */
  readonly knows: (token: string) => boolean
  /** Other keys from now on; what was verified before is verified again. */
  readonly use: (keys: readonly JwtKey[]) => void
}

/** Members that name a key, or demand something of us: the key is configured (RFC 8725 §3.10, RFC 7515 §4.1.11). */
const FORBIDDEN = ['crit', 'jku', 'x5u', 'jwk', 'x5c', 'b64', 'zip', 'enc']
const TYPES: ReadonlySet<unknown> = new Set([undefined, 'jwt', 'at+jwt', 'application/jwt', 'application/at+jwt'])
/** What makes a token an ID Token (OpenID Connect Core §3.1.3.6, §3.3.2.11): it says who signed in, not who may call. */
const OF_ID_TOKENS = ['at_hash', 'c_hash', 's_hash']
const APPLICATION_CLAIMS = ['client_id', 'azp', 'sub']
const MAX_CLAIM = 256

/**
 * Verifies tokens of another issuer (RFC 7519, RFC 8725): one pinned algorithm, configured keys, `exp` required, `nbf` and `iat` kept
 * when there, issuer and audience as configured. Why a token whose signature holds is refused is said; anything else is just refused.
 * Verified tokens are cached by their SHA-256 until other keys come or they end.
 */
export function jwtVerifier(rules: JwtRules, first: readonly JwtKey[], capacity = 20_000): JwtVerifier {
  const { digest, options } = verification(rules.algorithm)
  const cache = new Map<string, VerifiedJwt>()
  let keys = first

  function signer(jws: CompactJws): JwtKey | undefined {
    const { kid } = jws.header
    const input = Buffer.from(jws.signingInput)
    // Keys of a set are picked by their id; those of a PEM file have none and are tried.
    const fitting = keys.filter((one) => one.kid === undefined || kid === undefined || one.kid === kid)
    return fitting.find(({ key }) => {
      try {
        return verifySignature(digest, input, { ...options, key }, jws.signature)
      } catch {
        return false
      }
    })
  }

  function readAnew(token: string, now: UnixSeconds): Result<VerifiedJwt, 'invalid_client'> {
    const jws = parseJws(token)
    if (!jws.ok) return refuse('invalid_client')
    const { header, payload } = jws.value
    if (header.alg !== rules.algorithm || FORBIDDEN.some((name) => Object.hasOwn(header, name))) return refuse('invalid_client')
    if (!TYPES.has(typeof header.typ === 'string' ? header.typ.toLowerCase() : header.typ)) return refuse('invalid_client')
    const key = signer(jws.value)
    if (key === undefined) return refuse('invalid_client')
    return readPayload(payload, key.id, rules, now)
  }

  return {
    verify(token, now) {
      if (token.length > MAX_TOKEN_LENGTH) return refuse('invalid_client')
      const name = hash('sha256', token, 'base64url')
      const before = cache.get(name)
      if (before !== undefined) {
        const inForce = checkTimes(before, rules.skew, now)
        if (!inForce.ok) cache.delete(name)
        return inForce
      }
      const read = readAnew(token, now)
      if (!read.ok) return read
      cache.set(name, read.value)
      if (cache.size > capacity) {
        const oldest = cache.keys().next()
        if (!oldest.done) cache.delete(oldest.value)
      }
      return read
    },
    knows: (token) => token.length <= MAX_TOKEN_LENGTH && cache.has(hash('sha256', token, 'base64url')),
    use(others) {
      keys = others
      cache.clear()
    },
  }
}

function readPayload(
  payload: CompactJws['payload'],
  keyId: string,
  { issuer, audience, skew, applicationClaim }: JwtRules,
  now: UnixSeconds,
): Result<VerifiedJwt, 'invalid_client'> {
  const { iss, aud, exp, nbf, iat, jti } = payload
  if (OF_ID_TOKENS.some((name) => payload[name] !== undefined)) return refuse('invalid_client', 'the token is an ID Token')
  if (issuer !== undefined && iss !== issuer) return refuse('invalid_client', 'iss is not the issuer that is accepted here')
  if (audience !== undefined && aud !== audience && !(Array.isArray(aud) && aud.includes(audience)))
    return refuse('invalid_client', 'aud is not the audience of this service')
  if (!isTime(exp)) return refuse('invalid_client', 'exp is missing')
  if (![nbf, iat].every((time) => time === undefined || isTime(time))) return refuse('invalid_client', 'nbf or iat is not a time')
  if (jti !== undefined && !isText(jti)) return refuse('invalid_client', 'jti is not a text')
  if (iss !== undefined && !isText(iss)) return refuse('invalid_client', 'iss is not a text')
  const claim = applicationClaim ?? APPLICATION_CLAIMS.find((name) => payload[name] !== undefined)
  const application = claim === undefined ? undefined : payload[claim]
  if (!isText(application)) return refuse('invalid_client', 'the token names no application')
  return checkTimes({ application, keyId, exp, nbf: nbf as undefined, iat: iat as undefined, jti, iss }, skew, now)
}

function checkTimes(token: VerifiedJwt, skew: Seconds, now: UnixSeconds): Result<VerifiedJwt, 'invalid_client'> {
  if (token.exp + skew <= now) return refuse('invalid_client', 'the token has expired')
  if ((token.nbf ?? 0) > now + skew || (token.iat ?? 0) > now + skew) return refuse('invalid_client', 'the token begins in the future')
  return ok(token)
}

function isTime(value: unknown): value is UnixSeconds {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 && value < 1e11
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_CLAIM
}
