import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TlsOptions } from 'node:tls'
import { newId, REASONS, type Refusal, type RequestId, refuse } from '@caracal/core'
import { mayAnswer, problem, type RefusalContext, type WireRefusal } from '@caracal/service'
import { lingerThenClose } from '../exchange/linger.ts'
import { FORWARDED_METHODS } from './request-form.ts'

export type Handle = (request: IncomingMessage, response: ServerResponse, requestId: RequestId) => Promise<void>

export type CallServerOptions = {
  /** In whose name refusals are: `X-Caracal-Source`. */
  readonly service: string
  readonly handle: Handle
  /** A bug or broken infrastructure below `handle`; the client got `internal_error`. */
  readonly onError: (error: unknown, requestId: RequestId) => void
  /** Open connections at most; 10 000. Further ones are dropped before they cost anything. */
  readonly maxConnections?: number
  /** Until the headers are complete. Milliseconds; 5 000. */
  readonly headersTimeoutMs?: number
}

/** Headers of a request, names and values. Bytes. */
export const MAX_HEADER_BYTES = 16 * 1024

/**
 * The listener of the data path (P-067): headers of at most 16 KiB within 5 s, strict parsing, every refusal as problem+json with
 * `X-Caracal-Source` and `X-Request-Id`. How long a body may take is not decided here: uploads stream, and their idle time is watched.
 */
export function createCallServer(options: CallServerOptions & { readonly tls: TlsOptions }): TlsServer
export function createCallServer(options: CallServerOptions): Server
export function createCallServer(options: CallServerOptions & { readonly tls?: TlsOptions }): Server {
  const { service } = options
  const headersTimeoutMs = options.headersTimeoutMs ?? 5_000
  const serve = (request: IncomingMessage, response: ServerResponse): void => {
    const requestId = newId('request')
    options.handle(request, response, requestId).catch((error: unknown) => {
      options.onError(error, requestId)
      answerRefusal(response, refuse('internal_error'), { service, requestId })
    })
  }
  const limits = {
    maxHeaderSize: MAX_HEADER_BYTES,
    insecureHTTPParser: false,
    // Checked with our own refusal.
    requireHostHeader: false,
    headersTimeout: headersTimeoutMs,
    requestTimeout: 0,
    connectionsCheckingInterval: Math.min(1_000, headersTimeoutMs),
    keepAliveTimeout: 60_000,
    highWaterMark: 64 * 1024,
  }
  const server = options.tls === undefined ? createServer(limits, serve) : createTlsServer({ ...limits, ...options.tls }, serve)
  // More would be dropped silently; the size limit is the limit.
  server.maxHeadersCount = 0
  server.maxConnections = options.maxConnections ?? 10_000
  // The body of such a request is asked for only when it may be sent on.
  server.on('checkContinue', serve)
  server.on('checkExpectation', (_request, response: ServerResponse) => {
    answerRefusal(response, refuse('invalid_request', 'Expect is only accepted as 100-continue'), { service, requestId: newId('request') })
  })
  server.on('connect', (_request: IncomingMessage, socket: Duplex) => writeRefusal(socket, service, refuse('method_not_allowed')))
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => onClientError(error, socket, service))
  return server
}

/**
 * Answers in our own name. `more`: headers of this answer, e.g. `x-caracal-decision`. When an answer has
 * begun already, the connection is dropped.
 */
export function answerRefusal(
  response: ServerResponse,
  refusal: Refusal,
  context: RefusalContext,
  more: Readonly<Record<string, string>> = {},
): void {
  const { req } = response
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  const wire = callProblem(refusal, context)
  response.writeHead(wire.status, {
    ...wire.headers,
    'content-length': String(Buffer.byteLength(wire.body)),
    'x-request-id': context.requestId,
    ...allowHeader(refusal),
    ...more,
  })
  response.end(req.method === 'HEAD' ? undefined : wire.body)
  lingerThenClose(response)
}

/** The parser gave up: there is no request to answer, but there is somebody to tell. */
function onClientError(error: NodeJS.ErrnoException, socket: Duplex, service: string): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  // An earlier call of this connection that has no answer yet would take this one for its own.
  if (!mayAnswer(socket)) {
    socket.destroy()
    return
  }
  switch (error.code) {
    case 'HPE_HEADER_OVERFLOW':
      writeRefusal(socket, service, refuse('headers_too_large', `at most ${MAX_HEADER_BYTES} bytes`))
      break
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      writeRefusal(socket, service, refuse('request_timeout'))
      break
    default:
      writeRefusal(socket, service, refuse('invalid_request', 'the request is not HTTP/1.1'))
  }
}

/** A whole refusal on a bare connection, which ends with it. */
function writeRefusal(socket: Duplex, service: string, refusal: Refusal): void {
  const requestId = newId('request')
  const wire = callProblem(refusal, { service, requestId })
  const headers = {
    ...wire.headers,
    'content-length': String(Buffer.byteLength(wire.body)),
    'x-request-id': requestId,
    ...allowHeader(refusal),
    connection: 'close',
    date: new Date().toUTCString(),
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.on('error', () => {})
  socket.end(`HTTP/1.1 ${wire.status} ${STATUS_CODES[wire.status] ?? ''}\r\n${lines.join('')}\r\n${wire.body}`, () => closeSoon(socket))
}

function closeSoon(socket: Duplex & Partial<Pick<Socket, 'destroySoon'>>): void {
  if (socket.destroySoon === undefined) socket.destroy()
  else socket.destroySoon()
}

function allowHeader(refusal: Refusal): Record<string, string> {
  return refusal.reason === 'method_not_allowed' ? { allow: FORWARDED_METHODS } : {}
}

/** Clients of other people's protocols (npm, OAuth) show the member `error` and nothing else: it says code and words once more. */
function callProblem(refusal: Refusal, context: RefusalContext): WireRefusal {
  const error = `${refusal.reason}: ${refusal.detail ?? REASONS[refusal.reason].title}`
  return problem({ ...refusal, data: { ...refusal.data, error } }, context)
}
