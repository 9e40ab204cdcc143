import { ok, type Provider, type Reason, type Resource, type Result, refuse, type UnixMillis } from '@caracal/core'
import type { InternalClient } from '@caracal/service'
import Type from 'typebox'

/** The value behind a Provider, for one resource and host. Null for a provider that has none. */
export type UpstreamCredential = { readonly secret: string | null; readonly expiresAt: UnixMillis | null }

type Held = { readonly credential: UpstreamCredential; readonly fetchedAt: UnixMillis; renewal: Promise<unknown> | null }

const Reply = Type.Object({
  kind: Type.String(),
  secret: Type.Union([Type.String(), Type.Null()]),
  expiresAt: Type.Union([Type.Number(), Type.Null()]),
})

/** Asked for anew in the background after this long, kept while the STS is away for at most the other. Milliseconds. */
const RENEW_AFTER_MS = 240_000
const KEEP_MS = 600_000
/** One that expires is renewed this long before. Milliseconds. */
const RENEW_BEFORE_MS = 60_000
const MOST = 10_000

/**
 * Upstream credentials in memory: fetched from the STS once, renewed in the background, so that a call in the steady state waits
 * for nobody. The key holds the Provider's version: a changed Provider is another entry (P-075). Single flight for each entry.
 */
export class CredentialCache {
  readonly #client: Pick<InternalClient, 'call'>
  readonly #clock: () => UnixMillis
  readonly #held = new Map<string, Held>()
  readonly #flights = new Map<string, Promise<Result<UpstreamCredential>>>()

  constructor(client: Pick<InternalClient, 'call'>, clock: () => UnixMillis = Date.now) {
    this.#client = client
    this.#clock = clock
  }

  /** Entries held at the moment. */
  get size(): number {
    return this.#held.size
  }

  /** The credential, at once when it is held. Refuses with `credential_unavailable` or `sts_unavailable`. */
  get(provider: Provider, resource: Resource, host: string): Result<UpstreamCredential> | Promise<Result<UpstreamCredential>> {
    if (provider.kind === 'none') return ok({ secret: null, expiresAt: null })
    const key = [provider.id, provider.version, resource.id, host].join(' ')
    const now = this.#clock()
    const held = this.#held.get(key)
    if (held === undefined || !isUsable(held, now)) return this.#fetch(key, provider, resource, host)
    if (isDue(held, now) && held.renewal === null) {
      held.renewal = this.#fetch(key, provider, resource, host).finally(() => {
        held.renewal = null
      })
    }
    return ok(held.credential)
  }

  #fetch(key: string, provider: Provider, resource: Resource, host: string): Promise<Result<UpstreamCredential>> {
    const running = this.#flights.get(key)
    if (running !== undefined) return running
    const flight = this.#ask(key, provider, resource, host).finally(() => this.#flights.delete(key))
    this.#flights.set(key, flight)
    return flight
  }

  async #ask(key: string, provider: Provider, resource: Resource, host: string): Promise<Result<UpstreamCredential>> {
    const answer = await this.#client.call(
      '/internal/credentials',
      { zone: resource.zone, provider: provider.id, resource: resource.id, host },
      { reply: Reply, sealed: true, timeoutMs: 10_000 },
    )
    if (!answer.ok) return refuse(shown(answer.reason))
    const { secret, expiresAt } = answer.value
    const credential = { secret, expiresAt }
    for (const oldest of this.#held.keys()) {
      if (this.#held.size < MOST) break
      this.#held.delete(oldest)
    }
    this.#held.set(key, { credential, fetchedAt: this.#clock(), renewal: null })
    return ok(credential)
  }
}

/** The caller learns that there is none, not what the STS thinks of this Gateway. */
function shown(reason: Reason): Reason {
  return reason === 'sts_unavailable' ? 'sts_unavailable' : 'credential_unavailable'
}

function isUsable({ credential, fetchedAt }: Held, now: UnixMillis): boolean {
  return now - fetchedAt < KEEP_MS && (credential.expiresAt === null || now < credential.expiresAt)
}

function isDue({ credential, fetchedAt }: Held, now: UnixMillis): boolean {
  return now - fetchedAt >= RENEW_AFTER_MS || (credential.expiresAt !== null && credential.expiresAt - now < RENEW_BEFORE_MS)
}
