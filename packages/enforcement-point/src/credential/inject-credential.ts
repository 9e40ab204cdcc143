import { ok, type Provider, type Result, refuse, type UnixMillis } from '@caracal/core'
import { isReservedForInjection, replaceHeader } from '../headers/header-hygiene.ts'

/** What is about to go upstream, before its credential. */
export type UpstreamRequest = {
  /** `https:` or `http:`. */
  readonly protocol: string
  /** Host with its port when it is not the default one. */
  readonly host: string
  readonly path: string
  /** With its `?`, or empty. */
  readonly query: string
  readonly headers: string[]
}

export type Injected = {
  readonly query: string
  readonly headers: string[]
  /** Texts that must not come back. */
  readonly secrets: readonly string[]
}

/** Printable ASCII with inner spaces: what a header value of a credential can be. */
const HEADER_VALUE = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/

/**
 * Attaches the upstream credential. It replaces whatever the caller sent in that place. `secret` is the value behind the
 * Provider: the key, the token, the password, or the current OAuth access token; null when there is none.
 *
 * `upstream_not_allowed`: the Provider is not bound to this host (P-078). `credential_unavailable`: it is missing, expired or
 * cannot be sent; then the call must not go out at all (P-077).
 */
export function injectCredential(
  request: UpstreamRequest,
  provider: Provider | null,
  secret: string | null,
  now: UnixMillis,
): Result<Injected, 'upstream_not_allowed' | 'credential_unavailable'> {
  const { query, headers } = request
  if (provider === null || provider.kind === 'none') return ok({ query, headers, secrets: [] })
  if (!isBoundTo(provider, request)) return refuse('upstream_not_allowed', 'the provider is not bound to the host of the upstream')
  if (provider.expiresAt !== null && provider.expiresAt <= now)
    return refuse('credential_unavailable', 'the credential of the provider has expired')
  if (secret === null || secret === '') return refuse('credential_unavailable', 'the provider has no credential')

  switch (provider.kind) {
    case 'api_key': {
      const { placement } = provider
      if (placement.in === 'query')
        return ok({ query: replaceParameter(query, placement.name, secret), headers, secrets: [secret, encodeURIComponent(secret)] })
      return inHeader(request, placement.name, `${placement.prefix}${secret}`, [secret])
    }
    case 'bearer':
    case 'oauth2_client_credentials':
      return inHeader(request, 'Authorization', `Bearer ${secret}`, [secret])
    case 'basic': {
      if (provider.username.includes(':')) return refuse('credential_unavailable', 'a user name of basic authentication has no colon')
      const pair = Buffer.from(`${provider.username}:${secret}`, 'utf8').toString('base64')
      return inHeader(request, 'Authorization', `Basic ${pair}`, [secret, pair, pair.replace(/=+$/, '')])
    }
  }
}

function inHeader(
  { query, headers }: UpstreamRequest,
  name: string,
  value: string,
  secrets: readonly string[],
): Result<Injected, 'credential_unavailable'> {
  if (isReservedForInjection(name)) return refuse('credential_unavailable', 'the placement of the provider uses a reserved header name')
  if (!HEADER_VALUE.test(value)) return refuse('credential_unavailable', 'the credential of the provider cannot stand in a header')
  return ok({ query, headers: replaceHeader(headers, name, value), secrets })
}

/** Configuration is replaced, never changed: what one of its objects allows is worked out once for each upstream. */
const known = new WeakMap<Provider, Map<string, boolean>>()

function isBoundTo(provider: Provider, request: UpstreamRequest): boolean {
  const answers = known.get(provider) ?? new Map<string, boolean>()
  const key = `${request.protocol}//${request.host}`
  const before = answers.get(key)
  if (before !== undefined) return before
  const bound = provider.hosts.some((host) => isBound(host, request))
  known.set(provider, answers.set(key, bound))
  return bound
}

/** `host` means the default port of the scheme, `host:port` exactly that one. */
function isBound(bound: string, { protocol, host }: UpstreamRequest): boolean {
  const url = URL.canParse(`${protocol}//${bound}`) ? new URL(`${protocol}//${bound}`) : null
  return url !== null && url.host === host && url.pathname === '/' && url.username === '' && url.search === ''
}

/** The query with one parameter of that name; every other byte stays. */
function replaceParameter(query: string, name: string, value: string): string {
  const others =
    query === ''
      ? []
      : query
          .slice(1)
          .split('&')
          .filter((pair) => decoded(pair.split('=')[0] ?? '') !== name)
  return `?${[...others.filter((pair, at) => pair !== '' || at > 0), `${encodeURIComponent(name)}=${encodeURIComponent(value)}`].join('&')}`
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return text
  }
}
