import { importPKCS8, SignJWT } from 'jose'
import { CaracalError, errorOf } from './caracal-error.ts'

/** How the application proves who it is: a client secret, or a private key (RFC 7523 `private_key_jwt`, PKCS#8 PEM). */
export type ClientAuthentication =
  | { readonly clientSecret: string }
  | {
      readonly privateKey: string
      readonly algorithm: 'ES256' | 'EdDSA' | 'RS256' | 'PS256'
      readonly keyId?: string
      readonly issuer: string
    }

/** What a mandate is asked for. Everything here is part of the key it is cached under. */
export type MandateRequest = {
  /** Identifier of the resource: an absolute URI. */
  readonly resource: string
  /** Absent: all that policy allows. */
  readonly scopes?: readonly string[]
  readonly session?: string
  readonly delegation?: string
  readonly ttlSeconds?: number
  /** Single use: never cached. */
  readonly once?: boolean
}

export type Mandate = {
  readonly token: string
  readonly scopes: readonly string[]
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

type Cached = { mandate: Mandate; renewal: Promise<Mandate> | undefined }

export type MandateSourceOptions = {
  readonly stsUrl: string
  readonly clientId: string
  readonly authentication: ClientAuthentication
  readonly now?: () => number
  readonly fetch?: typeof fetch
}

/** Renewed in the background this long before it expires, or after half its life when it is shorter. */
const RENEW_BEFORE_MS = 60_000
const MAX_CACHED = 1_000

/**
 * Gets, caches and renews mandates. One request for many callers that ask for the same; renewed in the background from 60 s
 * before expiry; the standing secret is sent only when a mandate is really needed. Single-use mandates are never cached.
 */
export class MandateSource {
  readonly #options: MandateSourceOptions
  readonly #cache = new Map<string, Cached>()
  readonly #inFlight = new Map<string, Promise<Mandate>>()

  constructor(options: MandateSourceOptions) {
    this.#options = options
  }

  async get(request: MandateRequest): Promise<Mandate> {
    if (request.once) return this.#mint(request)
    const key = JSON.stringify([
      request.resource,
      [...(request.scopes ?? [])].sort(),
      request.session,
      request.delegation,
      request.ttlSeconds,
    ])
    const now = (this.#options.now ?? Date.now)()
    const cached = this.#cache.get(key)
    if (cached !== undefined && cached.mandate.expiresAt > now) {
      if (cached.mandate.expiresAt - now < RENEW_BEFORE_MS) this.#renew(key, request, cached)
      return cached.mandate
    }
    return this.#single(key, request)
  }

  /** Forgets a mandate that the Gateway refused, so that the next call asks anew. */
  forget(token: string): void {
    for (const [key, cached] of this.#cache) if (cached.mandate.token === token) this.#cache.delete(key)
  }

  #renew(key: string, request: MandateRequest, cached: Cached): void {
    if (cached.renewal !== undefined) return
    cached.renewal = this.#single(key, request)
    // The mandate at hand is still good: a failed renewal shows when it is not.
    cached.renewal.catch(() => {
      cached.renewal = undefined
    })
  }

  #single(key: string, request: MandateRequest): Promise<Mandate> {
    const running = this.#inFlight.get(key)
    if (running !== undefined) return running
    const flight = this.#mint(request)
      .then((mandate) => {
        if (this.#cache.size >= MAX_CACHED) for (const oldest of this.#cache.keys()) return this.#evict(oldest, key, mandate)
        this.#cache.set(key, { mandate, renewal: undefined })
        return mandate
      })
      .finally(() => this.#inFlight.delete(key))
    this.#inFlight.set(key, flight)
    return flight
  }

  #evict(oldest: string, key: string, mandate: Mandate): Mandate {
    this.#cache.delete(oldest)
    this.#cache.set(key, { mandate, renewal: undefined })
    return mandate
  }

  async #mint(request: MandateRequest): Promise<Mandate> {
    const { stsUrl, clientId, authentication } = this.#options
    const form = new URLSearchParams({ grant_type: 'client_credentials', resource: request.resource })
    if (request.scopes !== undefined) form.set('scope', request.scopes.join(' '))
    if (request.session !== undefined) form.set('session', request.session)
    if (request.delegation !== undefined) form.set('delegation', request.delegation)
    if (request.ttlSeconds !== undefined) form.set('ttl', String(request.ttlSeconds))
    if (request.once) form.set('once', 'true')
    const headers: Record<string, string> = { 'content-type': 'application/x-www-form-urlencoded' }
    if ('clientSecret' in authentication) {
      const pair = `${encodeURIComponent(clientId)}:${encodeURIComponent(authentication.clientSecret)}`
      headers.authorization = `Basic ${Buffer.from(pair).toString('base64')}`
    } else {
      form.set('client_id', clientId)
      form.set('client_assertion_type', 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer')
      form.set('client_assertion', await clientAssertion(clientId, authentication, (this.#options.now ?? Date.now)()))
    }
    const sent = (this.#options.now ?? Date.now)()
    const response = await (this.#options.fetch ?? fetch)(`${stsUrl.replace(/\/+$/, '')}/oauth/2/token`, {
      method: 'POST',
      headers,
      body: form.toString(),
    }).catch((cause: unknown) => {
      throw new CaracalError(`the STS at ${stsUrl} cannot be reached`, {
        code: 'unreachable',
        status: 0,
        cause,
        remedy: 'Check the address and that the STS runs.',
      })
    })
    if (!response.ok) throw await errorOf(response)
    const body = (await response.json()) as { access_token: string; expires_in: number; scope?: string }
    return { token: body.access_token, scopes: (body.scope ?? '').split(' ').filter(Boolean), expiresAt: sent + body.expires_in * 1000 }
  }
}

async function clientAssertion(clientId: string, key: Extract<ClientAuthentication, { privateKey: string }>, now: number): Promise<string> {
  const seconds = Math.floor(now / 1000)
  return new SignJWT({ jti: crypto.randomUUID() })
    .setProtectedHeader({ alg: key.algorithm, ...(key.keyId === undefined ? {} : { kid: key.keyId }) })
    .setIssuer(clientId)
    .setSubject(clientId)
    .setAudience(key.issuer)
    .setIssuedAt(seconds)
    .setExpirationTime(seconds + 60)
    .sign(await importPKCS8(key.privateKey, key.algorithm))
}
