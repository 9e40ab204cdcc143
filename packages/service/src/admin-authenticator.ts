import { createHash, timingSafeEqual } from 'node:crypto'
import { type AdminToken, type Clock, ok, type Result, refuse } from '@caracal/core'
import { type Authenticator, bearerToken, type Presented } from './authenticator.ts'
import { createFailureThrottle, type FailureThrottle } from './failure-throttle.ts'
import type { AdminPrincipal, Principal } from './who.ts'

/** A token that comes with the deployment; several values during rotation. */
export type DeploymentToken = {
  readonly principal: AdminPrincipal
  readonly values: () => readonly string[]
}

/** How long a looked-up token is believed: a revoked one stops within this. Milliseconds. */
const CACHE_MS = 5_000
const MAX_CACHED = 10_000

/**
 * Authenticates `Authorization: Bearer` against the deployment's own tokens (constant time, all of them compared) and then against
 * stored admin tokens by the SHA-256 of their text. Failures are throttled per source; a correct credential always passes.
 * A broken lookup throws: the row answers 503, never 401.
 */
export function createAdminAuthenticator(options: {
  readonly deployment: readonly DeploymentToken[]
  readonly lookup: (sha256Hex: string) => Promise<AdminToken | null>
  readonly throttle?: FailureThrottle
  readonly now?: Clock
  /** Told of each use of a deployment token: break-glass use is an event. */
  readonly onDeploymentToken?: (principal: AdminPrincipal, presented: Presented) => void
}): Authenticator {
  const now = options.now ?? Date.now
  const throttle = options.throttle ?? createFailureThrottle({ now })
  const cache = new Map<string, { readonly token: AdminToken; readonly until: number }>()

  const stored = async (hex: string): Promise<AdminToken | null> => {
    const held = cache.get(hex)
    if (held !== undefined && held.until > now()) return held.token
    cache.delete(hex)
    const token = await options.lookup(hex)
    // Only what exists is remembered: a token works at once after it was made, and strangers fill nothing.
    if (token !== null) {
      if (cache.size >= MAX_CACHED) cache.clear()
      cache.set(hex, { token, until: now() + CACHE_MS })
    }
    return token
  }

  return {
    challenge: 'Bearer realm="caracal"',
    async authenticate(presented): Promise<Result<Principal>> {
      const text = bearerToken(presented.authorization)
      if (text === undefined) return refuse('unauthenticated')
      const digest = createHash('sha256').update(text).digest()
      const own = deploymentPrincipal(options.deployment, digest)
      if (own !== undefined) {
        options.onDeploymentToken?.(own, presented)
        return ok(own)
      }
      const token = ADMIN_TOKEN.test(text) ? await stored(digest.toString('hex')) : null
      if (token !== null && token.expiresAt > now()) {
        return ok({ kind: 'admin', id: token.id, name: token.name, roles: token.roles, zone: token.zone })
      }
      const wait = throttle.failed(presented.source)
      return wait > 0 ? refuse('rate_limited', undefined, { retry_after: wait }) : refuse('unauthenticated')
    },
  }
}

/** What the API hands out: anything else is not worth a lookup. */
const ADMIN_TOKEN = /^cat_[A-Za-z0-9_-]{43}$/

function deploymentPrincipal(tokens: readonly DeploymentToken[], digest: Buffer): AdminPrincipal | undefined {
  let found: AdminPrincipal | undefined
  for (const token of tokens) {
    for (const value of token.values()) {
      if (timingSafeEqual(digest, createHash('sha256').update(value).digest())) found = token.principal
    }
  }
  return found
}
