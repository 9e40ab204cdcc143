import { createHash } from 'node:crypto'
import { type Clock, ok, type Provider, type Result, refuse, type UnixMillis } from '@caracal/core'
import type { Logger } from '@caracal/service'
import type { StsMetrics } from '../metrics.ts'

export type OAuthProvider = Extract<Provider, { kind: 'oauth2_client_credentials' }>

/** An access token of a provider. */
export type ProviderToken = { readonly token: string; readonly expiresAt: UnixMillis }

/** Asks a provider's token endpoint. Rejects with why it did not work; that never contains a secret. */
export type TokenFetcher = (provider: OAuthProvider, secret: string) => Promise<ProviderToken>

export type ProviderTokens = {
  /** From memory, refreshed in the background from 60 s before its end; one request per provider at a time (P-081). */
  get(provider: OAuthProvider, secret: string): Promise<Result<ProviderToken, 'credential_unavailable'>>
  stop(): Promise<void>
}

const REFRESH_AHEAD_MS = 60_000

/** A token this close to its end is not handed out: it would end on the way. */
const LEAST_LEFT_MS = 5_000

/** After a failure a provider rests, twice as long each time. */
const REST_MS = { first: 1_000, most: 60_000 } as const

type Held = {
  /** What the token was asked for: another version of the provider or its secret asks anew. */
  readonly asked: string
  token: ProviderToken | undefined
  refreshAt: UnixMillis
  flight: Promise<void> | undefined
  failures: number
  restsUntil: UnixMillis
}

export function providerTokens(options: {
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Pick<StsMetrics, 'providerRefreshSeconds' | 'providerRefreshes'>
  readonly fetchToken: TokenFetcher
}): ProviderTokens {
  const { clock, logger, metrics, fetchToken } = options
  const held = new Map<string, Held>()
  let stopped = false

  function refresh(at: Held, provider: OAuthProvider, secret: string): Promise<void> {
    at.flight ??= (async () => {
      const ended = metrics.providerRefreshSeconds.startTimer()
      try {
        at.token = await fetchToken(provider, secret)
        // Of a token that lives shortly the last quarter, else every call would refresh it.
        at.refreshAt = at.token.expiresAt - Math.min(REFRESH_AHEAD_MS, (at.token.expiresAt - clock()) / 4)
        at.failures = 0
        ended({ result: 'ok' })
        metrics.providerRefreshes.inc({ result: 'ok' })
      } catch (error) {
        at.failures += 1
        at.restsUntil = clock() + Math.min(REST_MS.first * 2 ** (at.failures - 1), REST_MS.most)
        ended({ result: 'failed' })
        metrics.providerRefreshes.inc({ result: 'failed' })
        logger.warn({ err: error, zone: provider.zone, provider: provider.id, failures: at.failures }, 'a provider gave no token')
      } finally {
        at.flight = undefined
      }
    })()
    return at.flight
  }

  return {
    async get(provider, secret) {
      const key = `${provider.zone} ${provider.id}`
      const asked = createHash('sha256').update(`${provider.version} ${secret}`).digest('base64url')
      let at = held.get(key)
      if (at === undefined || at.asked !== asked) {
        at = { asked, token: undefined, refreshAt: 0, flight: undefined, failures: 0, restsUntil: 0 }
        held.set(key, at)
      }
      const left = (at.token?.expiresAt ?? 0) - clock()
      const rests = clock() < at.restsUntil
      if (left <= LEAST_LEFT_MS && !stopped && !(rests && at.flight === undefined)) await refresh(at, provider, secret)
      else if (clock() >= at.refreshAt && !stopped && !rests) void refresh(at, provider, secret)
      const { token } = at
      return token !== undefined && token.expiresAt - clock() > LEAST_LEFT_MS ? ok(token) : refuse('credential_unavailable')
    },
    async stop() {
      stopped = true
      await Promise.all([...held.values()].map((one) => one.flight))
    },
  }
}
