import { newId, type Reason, type RequestId, refuse } from '@caracal/core'
import { SpanStatusCode } from '@opentelemetry/api'
import Fastify, { type FastifyError, type FastifyInstance, type FastifyRequest } from 'fastify'
import { answerBrokenRequest, answerOnSocket, MAX_HEADER_FIELDS } from './broken-request.ts'
import { Departure } from './departure.ts'
import { infrastructureReason } from './infrastructure-error.ts'
import { labelled, observeConnections } from './metrics.ts'
import { createPathMethods } from './path-methods.ts'
import type { Probes } from './probes.ts'
import { createRateLimiter } from './rate-limit.ts'
import { MAX_BODY_BYTES } from './read-request.ts'
import type { RouteRow } from './route.ts'
import { sendRefusal } from './send-answer.ts'
import { serveRoute, zoneById } from './serve-route.ts'
import { addServiceRoutes, SERVICE_PATHS } from './service-routes.ts'
import type { ServiceOptions } from './start-service.ts'
import { startServerSpan } from './trace.ts'
import { principalKey } from './who.ts'

/** For whoever opens an answer of an API in a browser; paths that serve pages say otherwise (`pages`). */
const API_HEADERS = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'strict-transport-security': 'max-age=31536000; includeSubDomains',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const

/** Methods that become a metric label as they are. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** The fastify application behind a route table; it does not listen yet. */
export async function createApp(options: ServiceOptions, probes: Probes, draining: AbortSignal): Promise<FastifyInstance> {
  const { name: service, logger, limits = {} } = options
  const app = Fastify({
    logger: false,
    genReqId: () => newId('request'),
    requestIdHeader: false,
    bodyLimit: MAX_BODY_BYTES,
    trustProxy: options.trustedProxies === undefined || options.trustedProxies.length === 0 ? false : [...options.trustedProxies],
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
  const methodsOf = createPathMethods([...options.routes, ...SERVICE_PATHS.map((path) => ({ method: 'GET' as const, path }))])
  const limiter = createRateLimiter(options.rates ?? {}, () => performance.now())

  app.removeAllContentTypeParsers()
  // Bytes only: they are parsed after the media type, the credential and, for internal calls, the signature were checked.
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  app.decorateRequest('exchange')
  // Hooks that wait for nothing take a callback: a promise for each of them would be a good part of what a request costs.
  app.addHook('onRequest', (request, reply, done) => {
    const { at, span } = startServerSpan(one(request.headers.traceparent), () => `${request.method} ${routeOf(request)}`)
    const gone = new Departure()
    request.exchange = {
      id: request.id as RequestId,
      clientRequestId: printable(one(request.headers['x-request-id'])),
      trace: at,
      span,
      gone,
      principal: { kind: 'anyone' },
      zone: null,
      claimed: undefined,
      proven: undefined,
    }
    reply.raw.once('close', () => {
      if (!reply.raw.writableFinished) gone.happened()
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
  const seconds = labelled(options.metrics.httpRequestSeconds)
  app.addHook('onResponse', (request, reply, done) => {
    const route = routeOf(request)
    const method = METHODS.has(request.method) ? request.method : 'other'
    seconds(route, method, String(reply.statusCode)).observe(reply.elapsedTime / 1000)
    const { span } = request.exchange
    if (span.isRecording()) {
      span.setAttributes({ 'http.request.method': method, 'http.route': route, 'http.response.status_code': reply.statusCode })
      if (reply.statusCode >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
    }
    span.end()
    const level = reply.statusCode >= 500 ? 'warn' : 'debug'
    if (logger.isLevelEnabled(level)) {
      const fields = {
        request_id: request.id,
        trace_id: request.exchange.trace.traceId,
        method,
        route,
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
      }
      logger[level](fields, 'request')
    }
    done()
  })
  app.setErrorHandler((error, request, reply) => {
    const reason = reasonOf(error as FastifyError, options)
    if (reason === 'internal_error')
      logger.error({ err: error, request_id: request.id, route: request.routeOptions.url }, 'a handler broke')
    else if (reason === 'store_unavailable' || reason === 'evidence_unavailable')
      logger.warn({ err: error, request_id: request.id }, 'a dependency is away')
    if (reason === 'body_too_large') reply.header('connection', 'close')
    return sendRefusal(request, reply, refuse(reason), rowOf.get(request.routeOptions.config), context(request))
  })

  const context = (request: FastifyRequest) => ({ service, requestId: request.id as RequestId })
  const rowOf = new WeakMap<object, RouteRow>()
  addServiceRoutes(app, { service, version: options.version, probes, rows: options.routes })
  for (const row of options.routes) {
    const served = serveRoute(row, {
      service,
      authenticator: options.authenticator ?? { authenticate: () => refuse('unauthenticated') },
      internal: options.internal,
      idempotency: options.idempotency,
      resolveZone: options.resolveZone ?? zoneById,
      checkReplies: options.checkReplies ?? false,
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
        const wait = limiter.take(row.rate, principal.kind === 'anyone' ? request.ip : principalKey(principal))
        if (wait > 0)
          return sendRefusal(request, reply, refuse('rate_limited', undefined, { retry_after: Math.ceil(wait) }), row, context(request))
      },
      handler: (request, reply) => served.serve(request, reply),
    })
  }
  await app.ready()
  return app
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

function one(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' ? header : undefined
}

/** The caller's request id is only kept when it cannot break a log line or a header. */
function printable(text: string | undefined): string | undefined {
  return text !== undefined && /^[\x21-\x7e]{1,128}$/.test(text) ? text : undefined
}
