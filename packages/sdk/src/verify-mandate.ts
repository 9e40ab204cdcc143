import { createRemoteJWKSet, errors, type JWTVerifyGetKey, jwtVerify } from 'jose'
import { CaracalError } from './caracal-error.ts'
import type { RevocationSource } from './revocation-feed.ts'

export type VerifierOptions = {
  /** `{ISSUER_URL}/zones/{zone id}`, byte-equal to the mandate's `iss`. */
  readonly issuer: string
  /** This resource server's identifier: the mandate's one `aud`. */
  readonly audience: string
  /** Where the keys are; default: the issuer's `jwks.json`. */
  readonly jwksUrl?: string
  readonly revocations: RevocationSource
  /** Scopes every mandate must hold. A call can ask for more, never for fewer. */
  readonly scopes?: readonly string[]
  /**
   * Takes a single-use mandate: true for the first who asks, in one atomic step that all replicas share; remembered until `expiresAt`
   * (milliseconds since the epoch). Without it single-use mandates are refused.
   */
  readonly takeOnce?: (id: string, expiresAt: number) => Promise<boolean>
  readonly now?: () => number
}

export type VerifiedMandate = {
  readonly application: string
  readonly subject: string
  readonly scopes: readonly string[]
  readonly id: string
  readonly transaction: string
  readonly sessions: readonly string[]
  readonly delegations: readonly string[]
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

const SKEW_SECONDS = 60

/**
 * A verifier of mandates for resource servers (RFC 9068 §4, RFC 8725): signature, `typ`, `iss`, `aud`, times, lineage against the
 * revocation source. Refuses with `CaracalError`: 401 `invalid_token` or `token_revoked`, 403 `insufficient_scope`,
 * 503 `revocation_view_stale` or `keys_unavailable`. An unknown `kid` refetches the keys, at most twice a minute.
 */
export function mandateVerifier(
  options: VerifierOptions,
): (token: string, require?: { scopes?: readonly string[] }) => Promise<VerifiedMandate> {
  // JavaScript has no types to say so.
  if (typeof options.revocations?.fresh !== 'function') throw new TypeError('a verifier of mandates needs a revocation source')
  const keys: JWTVerifyGetKey = createRemoteJWKSet(new URL(options.jwksUrl ?? `${options.issuer}/jwks.json`), {
    cooldownDuration: 30_000,
    cacheMaxAge: 600_000,
    timeoutDuration: 5_000,
  })
  return async (token, require = {}) => {
    const claims = await verified(token, keys, options)
    const ids = [claims.zone, claims.client_id, claims.sub, claims.jti, ...claims.ses, ...claims.dlg, ...claims.mnd]
    if (!options.revocations.fresh()) throw refusal(503, 'revocation_view_stale', 'it cannot be shown that nothing was revoked')
    if (options.revocations.revoked(ids) !== null) throw refusal(401, 'token_revoked', 'the mandate or something it stands on is revoked')
    const scopes = claims.scope.split(' ').filter(Boolean)
    const missing = [...(options.scopes ?? []), ...(require.scopes ?? [])].find((scope) => !scopes.includes(scope))
    if (missing !== undefined) throw refusal(403, 'insufficient_scope', `the mandate lacks ${missing}`)
    // Last, so that no refusal uses it up.
    if (claims.once) await takeOnce(claims, options)
    return {
      application: claims.client_id,
      subject: claims.sub,
      scopes,
      id: claims.jti,
      transaction: claims.txn,
      sessions: claims.ses,
      delegations: claims.dlg,
      expiresAt: claims.exp * 1000,
    }
  }
}

async function takeOnce(claims: Claims, { takeOnce }: VerifierOptions): Promise<void> {
  if (takeOnce === undefined) throw refusal(401, 'invalid_token', 'single-use mandates are not taken here')
  if (!(await takeOnce(claims.jti, claims.exp * 1000))) throw refusal(401, 'token_replayed', 'the single-use mandate was used before')
}

type Claims = {
  readonly zone: string
  readonly client_id: string
  readonly sub: string
  readonly jti: string
  readonly txn: string
  readonly scope: string
  readonly exp: number
  readonly ses: readonly string[]
  readonly dlg: readonly string[]
  readonly mnd: readonly string[]
  readonly once: boolean
}

async function verified(token: string, keys: JWTVerifyGetKey, options: VerifierOptions): Promise<Claims> {
  const now = (options.now ?? Date.now)()
  try {
    const { payload } = await jwtVerify(token, keys, {
      algorithms: ['ES256'],
      typ: 'at+jwt',
      issuer: options.issuer,
      audience: options.audience,
      requiredClaims: ['iss', 'aud', 'exp', 'nbf', 'iat', 'jti', 'sub', 'client_id', 'scope', 'zone', 'txn'],
      clockTolerance: SKEW_SECONDS,
      currentDate: new Date(now),
    })
    // As at the Gateway: a mandate may begin up to a minute ahead of this clock, and never outlives its end.
    if ((payload.iat ?? 0) > now / 1000 + SKEW_SECONDS) throw notYetValid()
    if ((payload.exp ?? 0) <= now / 1000) throw refusal(401, 'token_expired', 'the mandate has expired')
    const text = (name: string): string => {
      const value = payload[name]
      if (typeof value !== 'string') throw refusal(401, 'invalid_token', `the claim ${name} is not a string`)
      return value
    }
    const list = (name: string): readonly string[] => {
      const value = payload[name] ?? []
      if (!Array.isArray(value) || !value.every((entry) => typeof entry === 'string'))
        throw refusal(401, 'invalid_token', `the claim ${name} is not a list of strings`)
      return value
    }
    // As at the Gateway: a bound mandate as a plain Bearer is refused.
    if (payload.cnf !== undefined) throw refusal(401, 'invalid_token', 'the mandate is bound to a key that was not proven')
    if (typeof payload.aud !== 'string') throw refusal(401, 'invalid_token', 'the audience is not a single string')
    return {
      zone: text('zone'),
      client_id: text('client_id'),
      sub: text('sub'),
      jti: text('jti'),
      txn: text('txn'),
      scope: text('scope'),
      exp: payload.exp ?? 0,
      ses: list('ses'),
      dlg: list('dlg'),
      mnd: list('mnd'),
      once: payload.once !== undefined,
    }
  } catch (error) {
    if (error instanceof CaracalError) throw error
    if (error instanceof errors.JWTExpired) throw refusal(401, 'token_expired', 'the mandate has expired', error)
    if (error instanceof errors.JWTClaimValidationFailed && (error.claim === 'nbf' || error.claim === 'iat')) throw notYetValid(error)
    if (isKeyTrouble(error)) {
      throw refusal(503, 'keys_unavailable', 'the keys of the issuer cannot be fetched', error)
    }
    throw refusal(401, 'invalid_token', 'the mandate is not valid', error)
  }
}

/** The issuer does not answer, or not with keys: that says nothing about the mandate. */
function isKeyTrouble(error: unknown): boolean {
  if (error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid) return true
  // jose has no class of its own for an answer that is not 200 or no JSON.
  if (error instanceof errors.JOSEError) return error.code === 'ERR_JOSE_GENERIC'
  return error instanceof TypeError && error.message.includes('fetch')
}

function notYetValid(cause?: unknown): CaracalError {
  return refusal(401, 'token_not_yet_valid', 'the mandate begins in the future: a clock is wrong by more than a minute', cause)
}

function refusal(status: number, code: string, message: string, cause?: unknown): CaracalError {
  return new CaracalError(`${code}: ${message}`, { code, status, cause })
}
