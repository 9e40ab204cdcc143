import type { IncomingMessage } from 'node:http'
import type { Refusal } from '@caracal/core'
import type { ReplicaState } from '@caracal/enforcement'

const WELL_KNOWN = '/.well-known/oauth-protected-resource'

/** Path of a server's metadata (RFC 9728 §3.1: the path of the resource comes after the well-known part). */
export function metadataPath(server: string): string {
  return `${WELL_KNOWN}/mcp/${server}`
}

/** The server that a metadata path is about, or null. */
export function serverOfMetadata(path: string): string | null {
  const below = path.startsWith(`${WELL_KNOWN}/mcp/`) ? path.slice(WELL_KNOWN.length + '/mcp/'.length) : null
  return below === null || below.includes('/') ? null : below
}

/** Where this request reached the adapter, as its client spells it: metadata must name exactly that (P-091). */
export function baseUrlOf(request: Pick<IncomingMessage, 'headers'>, publicUrl: string | undefined): string {
  return publicUrl?.replace(/\/+$/, '') ?? `http://${request.headers.host ?? 'localhost'}`
}

/**
 * Metadata of one server (RFC 9728): who issues mandates for it, and for what. Several zones may have a resource of that name; scopes are
 * told when there is one.
 */
export function resourceMetadata(base: string, server: string, state: Pick<ReplicaState, 'zones'>): Record<string, unknown> {
  const governing = state.zones().flatMap((zone) => {
    const resource = zone.resourcesByName.get(server)
    return resource?.kind === 'mcp' ? [{ issuer: zone.snapshot.issuer, scopes: resource.scopes }] : []
  })
  const [only, ...others] = governing
  return {
    resource: `${base}/mcp/${server}`,
    resource_name: server,
    authorization_servers: governing.map(({ issuer }) => issuer),
    bearer_methods_supported: ['header'],
    ...(only === undefined || others.length > 0 ? {} : { scopes_supported: only.scopes }),
  }
}

/** `WWW-Authenticate` of a refusal: where the metadata is, what is wrong, which scopes would do (RFC 6750 §3, RFC 9728 §5.1). */
export function challengeOf(refusal: Refusal, base: string, server: string): string {
  const scope = refusal.data?.scope
  const error =
    refusal.reason === 'unauthenticated' ? [] : [refusal.reason === 'insufficient_scope' ? 'insufficient_scope' : 'invalid_token']
  return [
    'Bearer realm="caracal"',
    ...error.map((code) => `error="${code}"`),
    ...(typeof scope === 'string' ? [`scope="${scope}"`] : []),
    `resource_metadata="${base}${metadataPath(server)}"`,
  ].join(', ')
}
