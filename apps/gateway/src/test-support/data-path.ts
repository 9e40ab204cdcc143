import { createServer, type RequestListener } from 'node:http'
import { type AddressInfo, connect, createServer as createNetServer, type Server as NetServer, type Socket } from 'node:net'
import { newId, type Provider, REASONS, RESOURCE_DEFAULTS, type Reason, type Refusal, type Resource } from '@caracal/core'
import {
  checkDeclaredLength,
  checkForm,
  forward,
  hasBody,
  headersForUpstream,
  injectCredential,
  type Outcome,
  type RunningExchange,
  UploadBody,
  UpstreamPools,
  upstreamOf,
} from '@caracal/enforcement-point'
import { createEgressGuard } from '@caracal/service'
import { createGatewayServer, sendRefusal } from '../http-server.ts'
import { parseRequestTarget } from '../request-target.ts'
import { pickResource, routeRequest } from '../route-request.ts'

export type DataPath = {
  readonly port: number
  readonly url: string
  /** Exchanges in the order they began. */
  readonly exchanges: RunningExchange[]
  readonly pools: UpstreamPools
  /** The outcome of the nth exchange, once it has begun and ended. */
  outcome(at: number): Promise<Outcome>
  close(): Promise<void>
}

export type DataPathOptions = {
  readonly resource: Resource
  readonly provider?: Provider
  readonly secret?: string
  readonly connections?: number
}

const ZONE = newId('zone')

export function resourceFor(upstream: string, more: Partial<Resource> = {}): Resource {
  return {
    ...RESOURCE_DEFAULTS,
    id: newId('resource'),
    zone: ZONE,
    name: 'notes',
    kind: 'http',
    identifier: 'https://notes.example/',
    upstream,
    scopes: ['notes:read'],
    operations: [],
    provider: null,
    egressAllow: ['127.0.0.0/8'],
    version: 1,
    createdAt: 0,
    updatedAt: 0,
    ...more,
  }
}

export function providerFor(
  method: { kind: 'bearer' } | Extract<Provider, { kind: 'api_key' | 'basic' }>['kind'] | object,
  hosts: string[],
): Provider {
  return {
    ...(method as { kind: 'bearer' }),
    id: newId('provider'),
    zone: ZONE,
    name: 'key',
    hosts,
    expiresAt: null,
    version: 1,
    createdAt: 0,
    updatedAt: 0,
  }
}

/** The whole data path on a free port, without verification and decision in between. */
export async function startDataPath(options: DataPathOptions): Promise<DataPath> {
  const { resource } = options
  const pools = new UpstreamPools({
    guard: createEgressGuard(),
    ...(options.connections === undefined ? {} : { connections: options.connections }),
  })
  const exchanges: RunningExchange[] = []
  const waiting: (() => void)[] = []
  const server = createGatewayServer({
    onError: (error) => {
      throw error
    },
    handle: async (request, response, requestId) => {
      const refuse = (refusal: Refusal) => sendRefusal(response, refusal, requestId)
      const form = checkForm(request)
      if (!form.ok) return refuse(form)
      const target = parseRequestTarget(request.url ?? '')
      if (!target.ok) return refuse(target)
      const routed = routeRequest({ target: target.value, rawHeaders: request.rawHeaders, baseDomain: 'gw.test' })
      if (!routed.ok) return refuse(routed)
      if (routed.value === null) return refuse({ ok: false, reason: 'not_found' })
      const picked = pickResource(routed.value, {
        byIdentifier: (text) => (text === resource.identifier ? resource : undefined),
        byName: (text) => (text === resource.name ? resource : undefined),
      })
      if (!picked.ok) return refuse(picked)
      const length = checkDeclaredLength(request, resource.maxBodyBytes)
      if (!length.ok) return refuse(length)
      const upstream = upstreamOf(resource)
      if (!upstream.ok) return refuse(upstream)
      const injected = injectCredential(
        {
          protocol: upstream.value.protocol,
          host: upstream.value.host,
          path: `${upstream.value.base}${routed.value.below.raw}`,
          query: routed.value.query,
          headers: headersForUpstream(request.rawHeaders),
        },
        options.provider ?? null,
        options.secret ?? null,
        Date.now(),
      )
      if (!injected.ok) return refuse(injected)
      const lease = pools.lease(upstream.value)
      if (!lease.ok) return refuse(lease)
      const path = `${upstream.value.base}${routed.value.below.raw}${injected.value.query}`
      const exchange = forward({
        request,
        response,
        lease: lease.value,
        body: hasBody(request)
          ? new UploadBody(request, { maxBytes: resource.maxBodyBytes, idleMs: resource.timeouts.idle * 1000 }, () => {
              if (request.headers.expect !== undefined) response.writeContinue()
            })
          : null,
        path,
        host: upstream.value.host,
        headers: injected.value.headers,
        secrets: injected.value.secrets,
        place: {
          requestUrl: `${upstream.value.origin}${path}`,
          upstreamOrigin: upstream.value.origin,
          upstreamBase: upstream.value.base,
          gatewayBase: routed.value.base,
        },
        timeouts: resource.timeouts,
        added: ['X-Request-Id', requestId, 'X-Caracal-Decision', 'allow'],
        refuse,
      })
      exchanges.push(exchange)
      for (const wake of waiting.splice(0)) wake()
    },
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    exchanges,
    pools,
    outcome: async (at) => {
      while (exchanges[at] === undefined) await new Promise<void>((resolve) => waiting.push(resolve))
      return (exchanges[at] as RunningExchange).done
    },
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeAllConnections()
      await pools.close()
      await closed
    },
  }
}

export type TestServer = { readonly port: number; readonly url: string; close(): Promise<void> }

/** A real HTTP upstream on loopback. */
export async function startUpstream(listener: RequestListener, onPort = 0): Promise<TestServer> {
  const server = createServer({ requireHostHeader: false }, listener)
  await new Promise<void>((resolve) => server.listen(onPort, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeAllConnections()
      await closed
    },
  }
}

/** An upstream that says whatever it is told to, HTTP or not. */
export async function startRawUpstream(serve: (socket: Socket) => void): Promise<TestServer> {
  const open = new Set<Socket>()
  const server: NetServer = createNetServer((socket) => {
    open.add(socket)
    socket.on('error', () => {}).on('close', () => open.delete(socket))
    serve(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const socket of open) socket.destroy()
      await closed
    },
  }
}

/** Sends bytes as they are and gives back everything that comes until the other side closes. */
export async function rawCall(port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.write(bytes, 'latin1')
  const parts: Buffer[] = []
  socket.on('data', (part: Buffer) => parts.push(part))
  await new Promise<void>((resolve) => socket.on('close', resolve).on('error', () => {}))
  return Buffer.concat(parts).toString('latin1')
}

/** Status and code of a refusal as it stands in the catalogue. */
export function refusalOf(reason: Reason): { status: number; code: Reason } {
  return { status: REASONS[reason].status, code: reason }
}
