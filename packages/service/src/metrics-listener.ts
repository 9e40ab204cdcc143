import { createHash, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { newId, type Reason, refuse } from '@caracal/core'
import type { Logger } from './logger.ts'
import type { Metrics } from './metrics.ts'
import type { Probes } from './probes.ts'
import { problem } from './problem.ts'

export type Address = { readonly host: string; readonly port: number; readonly url: string }

/** A small answer that needs no framework: probes, metrics. */
export type PlainAnswer = { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: string }

/** The probes every listener has; undefined for other paths. */
export function answerProbe(path: string, probes: Probes): PlainAnswer | undefined {
  const json = (status: number, body: unknown, more: Record<string, string> = {}): PlainAnswer => ({
    status,
    headers: { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store', ...more },
    body: JSON.stringify(body),
  })
  switch (path) {
    case '/livez':
      return json(200, { live: true })
    case '/health':
      return json(200, probes.health())
    case '/ready': {
      const state = probes.ready()
      return state.ready ? json(200, { ready: true }) : json(503, state, { 'retry-after': '1' })
    }
    default:
      return undefined
  }
}

export type MetricsListener = { readonly address: Address; readonly server: Server; close(): Promise<void> }

const LIMITS = { requestTimeout: 10_000, headersTimeout: 5_000, connectionsCheckingInterval: 1_000, keepAliveTimeout: 65_000 } as const
/** Scrapers and probes need few. */
const MAX_CONNECTIONS = 1_000

/**
 * The listener on METRICS_PORT: `/metrics`, `/livez`, `/health`, `/ready` and nothing else. The bearer is demanded for
 * `/metrics` exactly when one is configured; two may be valid during rotation.
 */
export async function startMetricsListener(options: {
  readonly service: string
  readonly host: string
  readonly port: number
  readonly bearer: () => readonly string[]
  readonly metrics: Metrics
  readonly probes: Probes
  readonly logger: Logger
}): Promise<MetricsListener> {
  const respond = async (request: IncomingMessage): Promise<PlainAnswer> => {
    const refusal = (reason: Reason, more: Record<string, string> = {}): PlainAnswer => {
      const wire = problem(refuse(reason), { service: options.service, requestId: newId('request') })
      return { ...wire, headers: { ...wire.headers, ...more } }
    }
    const path = (request.url ?? '').split('?')[0] ?? ''
    const probe = answerProbe(path, options.probes)
    if (probe === undefined && path !== '/metrics') return refusal('not_found')
    if (request.method !== 'GET' && request.method !== 'HEAD') return refusal('method_not_allowed', { allow: 'GET, HEAD' })
    if (probe !== undefined) return probe
    if (!mayScrape(request.headers.authorization, options.bearer())) return refusal('unauthenticated')
    const { body, contentType } = await options.metrics.text()
    return { status: 200, headers: { 'content-type': contentType }, body }
  }
  const server = createServer(LIMITS, (request, response) => {
    respond(request).then(
      (found) => write(response, found, request.method === 'HEAD'),
      (error: unknown) => {
        options.logger.error({ err: error }, 'a scrape failed')
        const wire = problem(refuse('internal_error'), { service: options.service, requestId: newId('request') })
        write(response, wire, false)
      },
    )
  })
  server.maxConnections = MAX_CONNECTIONS
  const address = await listen(server, options.host, options.port)
  return {
    address,
    server,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function write(response: ServerResponse, found: PlainAnswer, head: boolean): void {
  response.writeHead(found.status, { ...found.headers, 'content-length': Buffer.byteLength(found.body) })
  response.end(head ? undefined : found.body)
}

/** Constant time in the credential: digests of equal length are compared, and all of them. */
export function mayScrape(authorization: string | undefined, bearers: readonly string[]): boolean {
  if (bearers.length === 0) return true
  const given = createHash('sha256')
    .update(authorization ?? '')
    .digest()
  let found = false
  for (const bearer of bearers) {
    if (timingSafeEqual(given, createHash('sha256').update(`Bearer ${bearer}`).digest())) found = true
  }
  return found
}

/** Listens and says where; port 0 is any free one. Rejects when the port is taken. */
export function listen(server: Server, host: string, port: number): Promise<Address> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, () => {
      server.off('error', reject)
      resolve(addressOf(server, host))
    })
  })
}

export function addressOf(server: Server, host: string, scheme: 'http' | 'https' = 'http'): Address {
  const { port } = server.address() as AddressInfo
  const dialled = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '[::1]' : host.includes(':') ? `[${host}]` : host
  return { host, port, url: `${scheme}://${dialled}:${port}` }
}
