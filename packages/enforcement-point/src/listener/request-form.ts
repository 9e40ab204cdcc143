import type { IncomingMessage } from 'node:http'
import { ok, type Result, refuse } from '@caracal/core'
import { MAX_HEADER_FIELDS } from '@caracal/service'

/** What is checked before anything is looked up: the cheapest refusals come first (P-066). */
export type FormRefusal = 'invalid_request' | 'method_not_allowed' | 'not_implemented' | 'headers_too_large'

/** Methods that go upstream; `Allow` of a 405. */
export const FORWARDED_METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'

/** RFC 9110 §7.2: a name, an IPv4 or a bracketed IPv6 address with an optional port; or nothing. */
const HOST = /^(?:(?:[A-Za-z0-9._~%!$&'()*+,;=-]*|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?)$/

const GRPC = /^application\/grpc(?:\+|;|$)/i

/**
 * Refuses what is never forwarded: TRACE and CONNECT (P-070), protocols that are not spoken yet (P-072), and a request
 * without exactly one Host. `Upgrade: h2c` is an offer that a server may ignore (RFC 9110 §7.8), and clients make it by
 * default, so it is ignored; every other upgrade asks for something that would be missed.
 */
export function checkForm(request: IncomingMessage): Result<null, FormRefusal> {
  const { method = '', headers } = request
  if (request.rawHeaders.length > 2 * MAX_HEADER_FIELDS) return refuse('headers_too_large', `at most ${MAX_HEADER_FIELDS} fields`)
  if (request.httpVersion !== '1.1' && request.httpVersion !== '1.0') return refuse('invalid_request', 'the request is not HTTP/1.1')
  if (method === 'TRACE' || method === 'CONNECT' || method === 'TRACK') return refuse('method_not_allowed')
  if (headers.upgrade !== undefined && !isIgnoredUpgrade(headers.upgrade))
    return refuse('not_implemented', 'upgrades such as WebSocket are not supported')
  if (headers['content-type'] !== undefined && GRPC.test(headers['content-type'])) return refuse('not_implemented', 'gRPC is not supported')
  if (headers.trailer !== undefined) return refuse('not_implemented', 'trailers of requests are not supported')
  const hosts = countOf(request.rawHeaders, 'host')
  if (hosts > 1 || (hosts === 0 && request.httpVersion !== '1.0')) return refuse('invalid_request', 'exactly one Host is required')
  if (!HOST.test(headers.host ?? '')) return refuse('invalid_request', 'Host is not a host')
  const coding = headers['transfer-encoding']
  if (coding !== undefined && coding.trim().toLowerCase() !== 'chunked')
    return refuse('not_implemented', 'the transfer coding is not supported')
  return ok(null)
}

function isIgnoredUpgrade(upgrade: string): boolean {
  return upgrade.split(',').every((name) => ['', 'h2c'].includes(name.trim().toLowerCase()))
}

function countOf(rawHeaders: readonly string[], name: string): number {
  let found = 0
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const given = rawHeaders[at] ?? ''
    if (given.length === name.length && given.toLowerCase() === name) found += 1
  }
  return found
}

/** A body that says itself that it is too large is refused before any work (P-067). */
export function checkDeclaredLength(request: IncomingMessage, maxBytes: number): Result<null, 'body_too_large'> {
  const declared = Number(request.headers['content-length'] ?? 0)
  return declared > maxBytes ? refuse('body_too_large', `at most ${maxBytes} bytes`) : ok(null)
}
