import type { Clock } from '@caracal/core'
import { createEgressGuard, type EgressOptions, parseCidr } from '@caracal/service'
import Type from 'typebox'
import { Value } from 'typebox/value'
import { Agent } from 'undici'
import type { OAuthProvider, ProviderToken, TokenFetcher } from './provider-tokens.ts'

/** Name, connection, headers and body each have this long. Milliseconds. */
const PATIENCE_MS = 5_000

/** A token answer is small; what is larger is something else. Bytes. */
const MAX_ANSWER_BYTES = 256 * 1024

/** When the provider does not say how long its token lives. Seconds. */
const UNTOLD_LIFE = 300

const TokenResponse = Type.Object({
  access_token: Type.String({ minLength: 1, maxLength: 16_384, pattern: '^[\\x21-\\x7e]+$' }),
  token_type: Type.String(),
  expires_in: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
})

/**
 * RFC 6749 §4.4 at a provider: through the egress guard, no redirect followed, small and slow answers cut (P-080). Plain http only
 * to an address range that the provider allows by name. What went wrong is told without the provider's words.
 */
export function fetchProviderToken(clock: Clock, egress: EgressOptions = {}): TokenFetcher {
  const guard = createEgressGuard(egress)
  const agents = new Map<string, Agent>()
  const agentFor = (provider: OAuthProvider): Agent => {
    const clear = new URL(provider.tokenEndpoint).protocol !== 'https:'
    const key = `${clear} ${provider.egressAllow.join(' ')}`
    let agent = agents.get(key)
    if (agent === undefined) {
      agent = new Agent({
        connect: guard.connector({
          allow: provider.egressAllow.flatMap((cidr) => parseCidr(cidr) ?? []),
          connectMs: PATIENCE_MS,
          listedOnly: clear,
        }),
        headersTimeout: PATIENCE_MS,
        bodyTimeout: PATIENCE_MS,
        maxResponseSize: MAX_ANSWER_BYTES,
        keepAliveTimeout: 4_000,
      })
      agents.set(key, agent)
    }
    return agent
  }

  return async (provider, secret) => {
    const endpoint = new URL(provider.tokenEndpoint)
    if (endpoint.protocol !== 'https:' && provider.egressAllow.length === 0) throw new Error('the token endpoint must be https')
    const asked = clock()
    const response = await agentFor(provider).request({
      origin: endpoint.origin,
      path: endpoint.pathname + endpoint.search,
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json', ...basic(provider, secret) },
      body: requestBody(provider, secret),
    })
    const text = await response.body.text()
    if (response.statusCode !== 200) throw new Error(`the token endpoint answered ${response.statusCode}`)
    return readToken(text, asked)
  }
}

function requestBody(provider: OAuthProvider, secret: string): string {
  const form = new URLSearchParams({ grant_type: 'client_credentials' })
  if (provider.scope !== '') form.set('scope', provider.scope)
  if (provider.clientAuthentication === 'client_secret_post') {
    form.set('client_id', provider.clientId)
    form.set('client_secret', secret)
  }
  return form.toString()
}

function basic(provider: OAuthProvider, secret: string): Record<string, string> {
  if (provider.clientAuthentication !== 'client_secret_basic') return {}
  const encoded = [provider.clientId, secret].map((part) => encodeURIComponent(part).replaceAll('%20', '+')).join(':')
  return { authorization: `Basic ${Buffer.from(encoded).toString('base64')}` }
}

function readToken(text: string, asked: number): ProviderToken {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new Error('the token endpoint answered something that is not JSON')
  }
  if (!Value.Check(TokenResponse, value)) throw new Error('the token endpoint answered without a token')
  if (value.token_type.toLowerCase() !== 'bearer') throw new Error('the token endpoint gave a token that is no bearer token')
  return { token: value.access_token, expiresAt: asked + (value.expires_in ?? UNTOLD_LIFE) * 1000 }
}
