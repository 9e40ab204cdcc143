import { NAME, ok, type Resource, type Result, refuse } from '@caracal/core'
import type { RawPath } from '@caracal/enforcement'
import type { RequestTarget } from './request-target.ts'

/** How a request names its Resource. Names are unique within a zone only; the zone comes from the mandate. */
export type ResourceReference = { readonly by: 'identifier'; readonly text: string } | { readonly by: 'name'; readonly text: string }

export type RoutedRequest = {
  /** All of them must mean the same Resource; the first is the one that routed (3-wire, Gateway). */
  readonly references: readonly [ResourceReference, ...ResourceReference[]]
  /** What is below the Resource: decided on and appended to the upstream's base byte for byte. */
  readonly below: RawPath
  readonly query: string
  /** What stands before `below` in the client's URLs: `/r/{name}` or nothing. */
  readonly base: string
}

export type RoutingInput = {
  readonly target: RequestTarget
  /** Flat list of header names and values as they came. */
  readonly rawHeaders: readonly string[]
  /** `GATEWAY_BASE_DOMAIN`, lower case, or null when host routing is off. */
  readonly baseDomain: string | null
}

/**
 * Which Resource a request names: `X-Caracal-Resource`, path `/r/{name}/…`, host `{name}.<base domain>`, first match.
 * Null when it names none: then the Gateway's own routes answer. Ways that contradict each other are `invalid_request`;
 * whether an identifier and a name mean the same is known to `pickResource` only.
 */
export function routeRequest({ target, rawHeaders, baseDomain }: RoutingInput): Result<RoutedRequest | null, 'invalid_request'> {
  const identifiers = new Set(valuesOf(rawHeaders, 'x-caracal-resource').map((value) => value.trim()))
  const hosts = valuesOf(rawHeaders, 'host')
  if (identifiers.size > 1) return refuse('invalid_request', 'X-Caracal-Resource names two resources')
  if (hosts.length > 1) return refuse('invalid_request', 'Host stands more than once')

  const [identifier] = identifiers
  if (identifier === '') return refuse('invalid_request', 'X-Caracal-Resource is empty')
  const inPath = nameInPath(target.path)
  const inHost = baseDomain === null ? null : nameInHost(hosts[0] ?? '', baseDomain)
  if (inPath !== null && inHost !== null && inPath !== inHost)
    return refuse('invalid_request', 'path and host name two resources; below a host, /r/{resource name}/ must name the same')

  const [first, ...others]: ResourceReference[] = [
    ...(identifier === undefined ? [] : [{ by: 'identifier', text: identifier } as const]),
    ...(inPath === null ? [] : [{ by: 'name', text: inPath } as const]),
    ...(inHost === null || inHost === inPath ? [] : [{ by: 'name', text: inHost } as const]),
  ]
  if (first === undefined) return ok(null)
  return ok({
    references: [first, ...others],
    below: inPath === null ? target.path : belowName(target.path),
    query: target.query,
    base: inPath === null ? '' : `/r/${inPath}`,
  })
}

/** How the zone of the mandate finds its resources. */
export type ResourceDirectory = {
  byIdentifier(identifier: string): Resource | undefined
  byName(name: string): Resource | undefined
}

/** The Resource that every reference of the request means: `resource_unknown` when one is unknown, `invalid_request` when they differ. */
export function pickResource(
  routed: RoutedRequest,
  directory: ResourceDirectory,
): Result<Resource, 'resource_unknown' | 'invalid_request'> {
  let picked: Resource | undefined
  for (const { by, text } of routed.references) {
    const found = by === 'identifier' ? directory.byIdentifier(text) : directory.byName(text)
    if (found === undefined) return refuse('resource_unknown')
    if (picked !== undefined && found.id !== picked.id) return refuse('invalid_request', 'header, path or host name two resources')
    picked = found
  }
  return picked === undefined ? refuse('resource_unknown') : ok(picked)
}

function valuesOf(rawHeaders: readonly string[], name: string): string[] {
  const values: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2) if (rawHeaders[at]?.toLowerCase() === name) values.push(rawHeaders[at + 1] ?? '')
  return values
}

function nameInPath({ segments }: RawPath): string | null {
  const name = segments[0] === 'r' ? segments[1] : undefined
  return name !== undefined && NAME.test(name) ? name : null
}

function nameInHost(host: string, baseDomain: string): string | null {
  const withoutPort = host.replace(/:\d*$/, '').replace(/\.$/, '').toLowerCase()
  if (!withoutPort.endsWith(`.${baseDomain}`)) return null
  const name = withoutPort.slice(0, -baseDomain.length - 1)
  return NAME.test(name) ? name : null
}

/** `/r/{name}` alone means the root of the Resource, as `/r/{name}/` does. */
function belowName(path: RawPath): RawPath {
  const segments = path.segments.length > 2 ? path.segments.slice(2) : ['']
  const raw = `/${segments.join('/')}`
  return { raw, segments, encodedSeparator: /%(?:2f|5c)/i.test(raw) }
}
