import { PassThrough, Readable } from 'node:stream'
import type { Refusal } from '@caracal/core'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Answer } from './answer.ts'
import type { KeptAnswer } from './idempotency.ts'
import { SEALED_TYPE, SIGNATURE } from './internal-call/signature.ts'
import { problem, type RefusalContext } from './problem.ts'
import { MAX_BODY_BYTES } from './read-request.ts'
import type { RouteRow } from './route.ts'

/** A refusal in the row's own words. A body that was not read ends the connection unless it is small enough to skip. */
export function sendRefusal(
  request: FastifyRequest,
  reply: FastifyReply,
  refusal: Refusal,
  row: Pick<RouteRow, 'refusal'> | undefined,
  context: RefusalContext,
): FastifyReply {
  const wire = (row?.refusal ?? problem)(refusal, context)
  const proven = request.exchange?.proven
  if (request.body === undefined && bringsMuch(request)) reply.header('connection', 'close')
  if (proven !== undefined) reply.header(SIGNATURE, proven.sign(wire.status, Buffer.from(wire.body)))
  // Bytes: to text fastify would add a charset, which application/problem+json does not have.
  return reply.code(wire.status).headers(wire.headers).send(Buffer.from(wire.body))
}

function bringsMuch(request: FastifyRequest): boolean {
  if (request.headers['transfer-encoding'] !== undefined) return true
  return Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES
}

/** What the handler gave, or what was kept of the first time. */
export function sendAnswer(
  request: FastifyRequest,
  reply: FastifyReply,
  result: Answer | KeptAnswer,
  row: RouteRow,
  draining: AbortSignal,
): FastifyReply {
  reply.code(result.status).headers(result.headers)
  const contentType = result instanceof Answer ? result.contentType : undefined
  if (contentType !== undefined) {
    reply.header('content-type', contentType)
    return reply.send(streamed(result.body, draining, request.exchange.gone.signal))
  }
  const text = result instanceof Answer ? jsonText(result.body) : String(result.body)
  const proven = request.exchange.proven
  if (proven !== undefined) {
    const bytes = row.sealed ? proven.seal(result.status, Buffer.from(text)) : Buffer.from(text)
    reply.header(SIGNATURE, proven.sign(result.status, bytes))
    return reply
      .header('content-type', row.sealed ? SEALED_TYPE : 'application/json')
      .header('cache-control', 'no-store')
      .send(bytes)
  }
  if (text === '') return reply.send()
  return reply.header('content-type', 'application/json; charset=utf-8').send(text)
}

/** Text and bytes as they are; a stream that also ends when the service drains, so that it cannot hold up a stop. */
function streamed(body: unknown, draining: AbortSignal, gone: AbortSignal): unknown {
  if (typeof body === 'string' || Buffer.isBuffer(body)) return body
  if (body instanceof Uint8Array) return Buffer.from(body)
  const source = body instanceof Readable ? body : Readable.from(body as AsyncIterable<string | Uint8Array>)
  const out = new PassThrough()
  const end = () => {
    source.unpipe(out)
    out.end()
    source.destroy()
  }
  const cut = () => {
    source.destroy()
    out.destroy()
  }
  source.once('error', (error) => out.destroy(error))
  source.pipe(out)
  out.once('close', () => {
    draining.removeEventListener('abort', end)
    source.destroy()
  })
  draining.addEventListener('abort', end, { once: true })
  gone.addEventListener('abort', cut, { once: true })
  if (draining.aborted) end()
  return out
}

/** JSON, or nothing at all for undefined. */
export function jsonText(value: unknown): string {
  return value === undefined ? '' : JSON.stringify(value)
}
