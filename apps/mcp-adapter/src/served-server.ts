import { connect as connectPlain } from 'node:net'
import { ok, type Resource, type Result, refuse } from '@caracal/core'
import { type Upstream, upstreamOf } from '@caracal/enforcement-point'
import { isSameEndpoint, type McpServer } from './mcp-servers.ts'

/** One MCP server as the adapter serves it. */
export type ServedServer = {
  readonly name: string
  /** Where its calls go under this resource. */
  readonly upstream: (resource: Resource) => Result<Upstream, 'upstream_not_allowed'>
  /** Sent with every request to it, beside what the caller sent. */
  readonly headers: readonly string[]
  /** Whether it takes connections. Never throws. */
  readonly look: () => Promise<boolean>
}

const LOOK_MS = 1_500

/** A server that is reached by URL. A resource that names another upstream does not govern it. */
export function servedByUrl({ name, url }: Extract<McpServer, { kind: 'http' }>): ServedServer {
  return {
    name,
    upstream: (resource) =>
      isSameEndpoint(resource.upstream, url)
        ? upstreamOf(resource)
        : refuse('upstream_not_allowed', 'the upstream of the resource is not the URL of this server'),
    headers: [],
    look: () => takesConnections(url),
  }
}

/** A server that runs here, behind a listener of its own on loopback that takes nobody but the adapter. */
export function servedByBridge(
  name: string,
  bridge: { readonly url: URL; readonly headers: readonly string[]; readonly isAlive: () => boolean },
): ServedServer {
  const known = new WeakMap<Resource, Result<Upstream, 'upstream_not_allowed'>>()
  return {
    name,
    upstream(resource) {
      const before = known.get(resource)
      if (before !== undefined) return before
      const upstream = upstreamOf({ ...resource, upstream: bridge.url.href, egressAllow: ['127.0.0.1/32'] })
      known.set(resource, upstream)
      return upstream
    },
    headers: bridge.headers,
    look: async () => bridge.isAlive(),
  }
}

/** Only the connection: nothing is asked, so nothing has to be known or proven. */
function takesConnections({ hostname, port, protocol }: URL): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectPlain({
      host: hostname.replace(/^\[(.*)\]$/, '$1'),
      port: port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port),
      timeout: LOOK_MS,
    })
    const end = (found: boolean) => {
      socket.destroy()
      resolve(found)
    }
    socket.once('connect', () => end(true))
    socket.once('timeout', () => end(false))
    socket.once('error', () => end(false))
  })
}

/** The name of a server as a path has it, when it is one that is served. */
export function pickServer(servers: ReadonlyMap<string, ServedServer>, name: string): Result<ServedServer, 'resource_unknown'> {
  const server = servers.get(name)
  return server === undefined ? refuse('resource_unknown') : ok(server)
}
