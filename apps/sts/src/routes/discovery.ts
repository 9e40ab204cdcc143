import { createHash } from 'node:crypto'
import { isId, type PublicJwk, type Result, refuse, type ZoneId } from '@caracal/core'
import { type Answer, answer, anyone, etag, ifNoneMatch, Problem, type RouteRow, raw, route } from '@caracal/service'
import Type from 'typebox'
import { ASSERTION_ALGORITHMS } from '../client/client-assertion.ts'
import { BUILT_IN_SCOPES } from '../mint/resolve-resource.ts'
import { GRANT_CLIENT_CREDENTIALS, GRANT_TOKEN_EXCHANGE } from '../mint/token-request.ts'
import type { ZoneState } from '../zones/zone-state.ts'
import type { Zones } from '../zones/zones.ts'
import { AUTHORIZATION_PATH } from './authorize.ts'

/** Key sets and metadata may be kept this long; the next key is published twice as long before it signs. */
const CACHE = 'public, max-age=300'

const InZone = Type.Object({ zone: Type.String() })
const OfZone = Type.Object({ zone_id: Type.String() })

/**
 * RFC 8414 metadata and RFC 7517 key sets, from memory: they answer while every store is away (P-013). Only zones in memory are
 * known here; an unknown one steers no read.
 */
export function discoveryRoutes(zones: Zones, issuerUrl: string): RouteRow[] {
  const keys = (zone: string, seen: string | undefined): Result<never> | Answer => {
    const state = isId('zone', zone) ? zones.get(zone) : undefined
    return state === undefined ? refuse('not_found') : document(jwks(state), 'application/jwk-set+json', seen)
  }
  const metadata = (zone: ZoneId, seen: string | undefined): Result<never> | Answer => {
    const state = zones.get(zone)
    return state === undefined ? refuse('not_found') : document(serverMetadata(state, issuerUrl), 'application/json', seen)
  }
  const reply = { 200: Type.Object({}, { additionalProperties: true }), 304: null, 404: Problem('not_found') }
  return [
    route({
      method: 'GET',
      path: '/zones/:zone/jwks.json',
      who: anyone,
      summary: 'Public signing keys of a zone: next, current, previous',
      exposure: 'public',
      rate: 'discovery',
      params: InZone,
      reply,
      handle: ({ params, headers }) => keys(params.zone, headers['if-none-match']),
    }),
    route({
      method: 'GET',
      path: '/.well-known/jwks.json',
      who: anyone,
      summary: 'The same by query',
      exposure: 'public',
      rate: 'discovery',
      query: OfZone,
      reply,
      handle: ({ query, headers }) => keys(query.zone_id, headers['if-none-match']),
    }),
    ...['/.well-known/oauth-authorization-server/zones/:zone', '/zones/:zone/.well-known/openid-configuration'].map((path) =>
      route({
        method: 'GET',
        path,
        who: anyone,
        summary: 'Authorization server metadata of a zone (RFC 8414)',
        exposure: 'public',
        rate: 'discovery',
        params: InZone,
        reply,
        handle: ({ zone, headers }) => (zone === null ? refuse('not_found') : metadata(zone, headers['if-none-match'])),
      }),
    ),
  ]
}

/** RFC 7517 §5. */
export function jwks(state: Pick<ZoneState, 'snapshot'>): { readonly keys: readonly PublicJwk[] } {
  return { keys: state.snapshot.keys }
}

/** RFC 8414 §2: what is configured and nothing else. `issuer` is byte-equal to the `iss` of mandates. */
export function serverMetadata(state: Pick<ZoneState, 'snapshot' | 'logKeys'>, issuerUrl: string): Readonly<Record<string, unknown>> {
  const base = issuerUrl.replace(/\/$/, '')
  const { id, issuer, resources } = state.snapshot
  const methods = ['client_secret_basic', 'client_secret_post', 'private_key_jwt']
  const authentication = (endpoint: string) => ({
    [`${endpoint}_endpoint_auth_methods_supported`]: methods,
    [`${endpoint}_endpoint_auth_signing_alg_values_supported`]: ASSERTION_ALGORITHMS,
  })
  return {
    issuer,
    token_endpoint: `${base}/oauth/2/token`,
    introspection_endpoint: `${base}/oauth/2/introspect`,
    revocation_endpoint: `${base}/oauth/2/revoke`,
    jwks_uri: `${base}/zones/${id}/jwks.json`,
    // It answers that no response type is supported. RFC 8414 §2 lets it be left out here; the MCP SDK's clients then refuse all of this.
    authorization_endpoint: `${base}${AUTHORIZATION_PATH}`,
    response_types_supported: [],
    grant_types_supported: [GRANT_CLIENT_CREDENTIALS, GRANT_TOKEN_EXCHANGE],
    ...authentication('token'),
    ...authentication('introspection'),
    ...authentication('revocation'),
    scopes_supported: [...new Set([...BUILT_IN_SCOPES, ...resources.flatMap((resource) => resource.scopes)])].sort(),
    protected_resources: resources.map((resource) => resource.identifier).sort(),
    ...(state.logKeys.length > 0 ? { caracal_log_keys: state.logKeys } : {}),
  }
}

function document(body: unknown, contentType: string, seen: string | undefined): Answer {
  const text = JSON.stringify(body)
  const tag = etag(createHash('sha256').update(text).digest('base64url').slice(0, 22))
  const headers = { etag: tag, 'cache-control': CACHE, 'access-control-allow-origin': '*', 'cross-origin-resource-policy': 'cross-origin' }
  return ifNoneMatch(seen, tag) ? answer(304, undefined, headers) : raw(contentType, Buffer.from(text), { headers })
}
