import type { RequestListener, Server } from 'node:http'
import { newId, type Reason, type RequestId, refuse } from '@caracal/core'
import Fastify, { type FastifyError, type FastifyInstance, type FastifyRequest } from 'fastify'
import { API_HEADERS } from './api-headers.ts'
import { answerBrokenRequest, answerOnSocket, MAX_HEADER_FIELDS } from './broken-request.ts'
import { type DirectDoor, directDoor } from './direct-door.ts'
import { openExchange } from './exchange.ts'
import { infrastructureReason } from './infrastructure-error.ts'
import { observeConnections } from './metrics.ts'
import { observeAnswers } from './observe-answer.ts'
import { createPathMethods } from './path-methods.ts'
import type { Probes } from './probes.ts'
import { createRateLimiter } from './rate-limit.ts'
import { MAX_BODY_BYTES } from './read-request.ts'
import type { RouteRow } from './route.ts'
import { sendRefusal } from './send-answer.ts'
import { serveRoute, zoneById } from './serve-route.ts'
import { addServiceRoutes, SERVICE_PATHS } from './service-routes.ts'
import { createSourceOf } from './source-address.ts'
import type { ServiceOptions } from './start-service.ts'
import { principalKey } from './who.ts'

/** The fastify application behind a route table; it does not listen yet. */
export async function createApp(options: ServiceOptions, probes: Probes, draining: AbortSignal): Promise<FastifyInstance> {
  const { name: service, logger, limits = {} } = options
  const app = Fastify({
    logger: false,
    genReqId: () => newId('request'),
    requestIdHeader: false,
    bodyLimit: MAX_BODY_BYTES,
    // One spelling per route: no folding of case, slashes or trailing slashes (P-120).
    routerOptions: { caseSensitive: true, ignoreTrailingSlash: false, ignoreDuplicateSlashes: false, maxParamLength: 512 },
    exposeHeadRoutes: true,
    requestTimeout: limits.requestTimeoutMs ?? 30_000,
    keepAliveTimeout: 65_000,
    // A client that does not take its answer is dropped; whoever streams says something more often than this.
    connectionTimeout: 120_000,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    http: {
      headersTimeout: limits.headersTimeoutMs ?? 5_000,
      maxHeaderSize: 16_384,
      // How late a time limit may be noticed: the default is half a minute.
      connectionsCheckingInterval: Math.min(1_000, limits.headersTimeoutMs ?? 1_000),
    },
    clientErrorHandler: (error, socket) => answerBrokenRequest(error, socket, service),
    frameworkErrors: (_error, request, reply) => {
      sendRefusal(request, reply, refuse('malformed_path'), undefined, { service, requestId: request.id as RequestId })
    },
  })
  // More would be dropped silently, a second credential among them; the size limit is the limit.
  app.server.maxHeadersCount = 0
  app.server.maxConnections = limits.maxConnections ?? 10_000
  app.server.on('connect', (_request, socket) => answerOnSocket(socket, service, 'method_not_allowed'))
  observeConnections(options.metrics, app.server)
  const sourceOf = createSourceOf(options.trustedProxies ?? [])
  const methodsOf = createPathMethods([...options.routes, ...SERVICE_PATHS.map((path) => ({ method: 'GET' as const, path }))])
  const limiter = createRateLimiter(options.rates ?? {}, () => performance.now())

  app.removeAllContentTypeParsers()
  // Bytes only: they are parsed after the media type, the credential and, for internal calls, the signature were checked.
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  app.decorateRequest('exchange')
  // Hooks that wait for nothing take a callback: a promise for each of them would be a good part of what a request costs.
  app.addHook('onRequest', (request, reply, done) => {
    const spanName = () => `${request.method} ${routeOf(request)}`
    const exchange = openExchange(request.id as RequestId, sourceOf(request.raw), request.headers, spanName)
    request.exchange = exchange
    reply.raw.once('close', () => {
      if (!reply.raw.writableFinished) exchange.gone.happened()
    })
    reply.headers(API_HEADERS)
    reply.header('x-request-id', request.id)
    for (const page of options.pages ?? []) if ((request.raw.url ?? '').startsWith(page.prefix)) reply.headers(page.headers)
    if (request.raw.rawHeaders.length > 2 * MAX_HEADER_FIELDS) {
      sendRefusal(request, reply, refuse('headers_too_large'), undefined, context(request))
      return
    }
    if (request.is404) {
      const allowed = methodsOf(request.raw.url ?? '')
      if (allowed.length > 0) reply.header('allow', allowed.join(', '))
      sendRefusal(request, reply, refuse(allowed.length > 0 ? 'method_not_allowed' : 'not_found'), undefined, context(request))
      return
    }
    done()
  })
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (probes.draining()) reply.header('connection', 'close')
    done()
  })
  const answered = observeAnswers(options)
  app.addHook('onResponse', (request, reply, done) => {
    const { method, exchange } = request
    answered(exchange, { route: routeOf(request), method, status: reply.statusCode, seconds: reply.elapsedTime / 1000 })
    done()
  })
  /** What an error that somebody threw is for the caller; the log has the rest. */
  const broke = (error: unknown, { id }: { readonly id: RequestId }, route: string): Reason => {
    const reason = reasonOf(error as FastifyError, options)
    if (reason === 'internal_error') logger.error({ err: error, request_id: id, route }, 'a handler broke')
    else if (reason === 'store_unavailable' || reason === 'evidence_unavailable')
      logger.warn({ err: error, request_id: id }, 'a dependency is away')
    return reason
  }
  app.setErrorHandler((error, request, reply) => {
    const reason = broke(error, request.exchange, routeOf(request))
    if (reason === 'body_too_large') reply.header('connection', 'close')
    return sendRefusal(request, reply, refuse(reason), rowOf.get(request.routeOptions.config), context(request))
  })

  const context = (request: FastifyRequest) => ({ service, requestId: request.id as RequestId })
  const rowOf = new WeakMap<object, RouteRow>()
  addServiceRoutes(app, { service, version: options.version, probes, rows: options.routes })
  const checkReplies = options.checkReplies ?? false
  for (const row of options.routes) {
    const served = serveRoute(row, {
      service,
      authenticator: options.authenticator ?? { authenticate: () => refuse('unauthenticated') },
      internal: options.internal,
      idempotency: options.idempotency,
      resolveZone: options.resolveZone ?? zoneById,
      checkReplies,
      draining,
    })
    const config = {}
    rowOf.set(config, row)
    app.route({
      method: row.method,
      url: row.path,
      bodyLimit: served.maxBodyBytes,
      config,
      async onRequest(request, reply) {
        rowOf.set(request.routeOptions.config, row)
        if (!(await served.admit(request, reply))) return reply
        if (row.rate === undefined) return
        const { principal } = request.exchange
        const wait = limiter.take(row.rate, principal.kind === 'anyone' ? request.exchange.source : principalKey(principal))
        if (wait > 0)
          return sendRefusal(request, reply, refuse('rate_limited', undefined, { retry_after: Math.ceil(wait) }), row, context(request))
      },
      handler: (request, reply) => served.serve(request, reply),
    })
  }
  await app.ready()
  const door = directDoor(options.routes, { service, checkReplies, draining, isDraining: probes.draining, sourceOf, broke, answered })
  letPassFirst(app.server, door)
  return app
}

/** Whatever comes is shown to the door before the router. */
function letPassFirst(server: Server, door: DirectDoor): void {
  const routers = server.listeners('request') as RequestListener[]
  server.removeAllListeners('request')
  server.on('request', (request, response) => {
    if (door(request, response)) return
    for (const router of routers) router(request, response)
  })
}

function reasonOf(error: FastifyError, options: ServiceOptions): Reason {
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return 'body_too_large'
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return 'unsupported_media_type'
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return 'invalid_request'
    default:
      return options.reasonOf?.(error) ?? infrastructureReason(error) ?? 'internal_error'
  }
}

function routeOf(request: FastifyRequest): string {
  return request.routeOptions.url ?? 'unmatched'
}
