import { hash } from 'node:crypto'
import { ok, type Result, refuse, type Seconds, type UnixMillis } from '@caracal/core'
import type { CallerDirectory } from './caller-directory.ts'
import { type CallerProver, type CallerRefusal, onlyHeader, type Presentation, type ProvenCaller } from './proven-caller.ts'
import type { JwtVerifier, VerifiedJwt } from './verify-jwt.ts'

/**
 * `AUTH_MODE=jwt`: `Authorization: Bearer` with a token of another issuer. It names the Application by id, or by its name where there
 * is one zone. `jti` makes it good for one call when its life is short enough to be remembered (`useFor`); else a nonce has to.
 */
export function jwtProver(
  directory: CallerDirectory,
  verifier: JwtVerifier,
  options: { readonly skew: Seconds; readonly useFor: Seconds },
): CallerProver {
  function named(token: VerifiedJwt, now: UnixMillis): Result<ProvenCaller, CallerRefusal> {
    const application = directory.application(token.application)
    if (application === undefined) return refuse('invalid_client', 'the token names no application of this service')
    const ends = token.exp + options.skew
    return ok({
      zone: application.zone,
      application: application.id,
      credential: { kind: 'jwt', id: token.keyId },
      expiresAt: ends,
      use: useOf(token, application, ends - now / 1000),
    })
  }

  function useOf({ jti, iss }: VerifiedJwt, { zone, id }: { zone: string; id: string }, left: Seconds): ProvenCaller['use'] {
    if (jti === undefined || left > options.useFor) return null
    return { key: `jti:${zone}:${id}:${hash('sha256', `${iss?.length ?? 0}:${iss ?? ''}${jti}`, 'base64url')}`, ttl: Math.ceil(left) + 1 }
  }

  return {
    async prove(presented, now) {
      const token = bearer(presented)
      if (!token.ok) return token
      const verified = verifier.verify(token.value, now / 1000)
      if (!verified.ok) return verified
      const found = named(verified.value, now)
      if (found.ok) return found
      await directory.refresh()
      return named(verified.value, now)
    },
    knows(presented) {
      const token = bearer(presented)
      return token.ok && verifier.knows(token.value)
    },
    zone: () => directory.onlyZone(),
    challenge: 'Bearer realm="caracal"',
  }
}

function bearer({ rawHeaders }: Presentation): Result<string, 'unauthenticated' | 'invalid_client' | 'invalid_request'> {
  const value = onlyHeader(rawHeaders, 'authorization')
  if (value === undefined) return refuse('unauthenticated', 'Authorization: Bearer is required')
  if (value === null) return refuse('invalid_request', 'Authorization stands more than once')
  const [scheme = '', token = '', ...rest] = value.split(/ +/)
  if (scheme.toLowerCase() !== 'bearer' || token === '' || rest.length > 0)
    return refuse('invalid_client', 'the credential is not a Bearer token')
  return ok(token)
}
