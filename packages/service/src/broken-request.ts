import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { newId, type Reason, refuse } from '@caracal/core'
import { problem } from './problem.ts'

/** Header fields of a request at most: 16 KiB hold sixteen thousand that say nothing, and each is looked at several times. */
export const MAX_HEADER_FIELDS = 1_000

/**
 * Bytes that are not HTTP, headers that are too large or too slow, a body that does not come: answered on the bare socket, which
 * ends with it. Only what is still coming can be answered: with an earlier call unanswered, or an answer begun, the client would
 * take this for the answer to something else, so the connection is dropped.
 */
export function answerBrokenRequest(error: Error & { readonly code?: string }, socket: Duplex, service: string): void {
  if (error.code === 'ECONNRESET' || !socket.writable || !mayAnswer(socket)) socket.destroy()
  else answerOnSocket(socket, service, reasonOf(error.code))
}

/** A whole refusal on a bare connection, which ends with it. */
export function answerOnSocket(socket: Duplex & Partial<Pick<Socket, 'destroySoon'>>, service: string, reason: Reason): void {
  const requestId = newId('request')
  const wire = problem(refuse(reason), { service, requestId })
  const headers = {
    ...wire.headers,
    'x-request-id': requestId,
    'content-length': String(Buffer.byteLength(wire.body)),
    connection: 'close',
    date: new Date().toUTCString(),
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.on('error', () => {})
  socket.end(`HTTP/1.1 ${wire.status} ${STATUS_CODES[wire.status] ?? ''}\r\n${lines.join('')}\r\n${wire.body}`, () =>
    socket.destroySoon === undefined ? socket.destroy() : socket.destroySoon(),
  )
}

/** What Node knows of a connection: the answer that is next, and the request that came last, maybe not whole. */
type Connection = Duplex & {
  readonly _httpMessage?: ServerResponse | null
  readonly parser?: { readonly incoming?: IncomingMessage | null } | null
}

/** Whether the request that broke is the next to be answered, and has no answer yet. */
export function mayAnswer({ _httpMessage: answer, parser }: Connection): boolean {
  const last = parser?.incoming
  if (answer !== null && answer !== undefined) return answer.req === last && !last.complete && !answer.headersSent
  return last === null || last === undefined || last.complete
}

function reasonOf(code: string | undefined): Reason {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return 'headers_too_large'
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return 'request_timeout'
    default:
      return 'invalid_request'
  }
}
