import type { IncomingMessage, ServerResponse } from 'node:http'
import { newId, type Reason, type Refusal, refuse } from '@caracal/core'
import { Answer } from './answer.ts'
import { API_HEADERS } from './api-headers.ts'
import { MAX_HEADER_FIELDS } from './broken-request.ts'
import { type Exchange, openExchange } from './exchange.ts'
import { isFormBody } from './form.ts'
import type { Answered } from './observe-answer.ts'
import { problem } from './problem.ts'
import { checkMediaType, readBody } from './read-request.ts'
import type { RouteRow } from './route.ts'
import { RouteCall } from './route-call.ts'
import { jsonText } from './send-answer.ts'
import { asAnswer, isRepeated, replyCheck } from './serve-route.ts'

/** Takes a request and answers it, or leaves it untouched and says false. */
export type DirectDoor = (request: IncomingMessage, response: ServerResponse) => boolean

export type DoorSurroundings = {
  readonly service: string
  readonly checkReplies: boolean
  readonly draining: AbortSignal
  readonly isDraining: () => boolean
  readonly sourceOf: (request: IncomingMessage) => string
  /** What a thrown error is for the caller; it is logged. */
  readonly broke: (error: unknown, exchange: Exchange, route: string) => Reason
  readonly answered: (exchange: Exchange, answered: Answered) => void
}

type DirectRow = { readonly row: RouteRow; readonly maxBytes: number; readonly checkReply: ((given: Answer) => void) | undefined }

const FIXED_HEADERS: readonly string[] = Object.entries(API_HEADERS).flat()

/** A length in its only spelling. */
const LENGTH = /^[1-9][0-9]{0,8}$/

/**
 * The short way to rows that say `direct`: a whole form of a known length at the exact path. The router has nothing to add to such a
 * request, and costs more than what is done for it. Everything else at the same path (a query, another method, chunks, a coding, two
 * credentials, a body that is too large) goes the long way and is refused there, in one place.
 */
export function directDoor(rows: readonly RouteRow[], around: DoorSurroundings): DirectDoor {
  const byPath = new Map<string, DirectRow>()
  for (const row of rows) if (row.direct === true) byPath.set(row.path, directRow(row, around.checkReplies))
  if (byPath.size === 0) return () => false
  return (request, response) => {
    const found = byPath.get(request.url ?? '')
    if (found === undefined || request.method !== found.row.method) return false
    const length = plainLength(request, found)
    if (length === undefined) return false
    new Visit(found, around, request, response).read(length)
    return true
  }
}

function directRow(row: RouteRow, checkReplies: boolean): DirectRow {
  const open = row.who.every(({ kind }) => kind === 'anyone')
  const asksMore = row.rate !== undefined || row.idempotent === true || row.sealed === true || row.query !== undefined
  if (row.method !== 'POST' || /[:*]/.test(row.path) || !open || asksMore || !isFormBody(row.body))
    throw new TypeError(`${row.method} ${row.path} asks for more than the direct way has`)
  return { row, maxBytes: row.maxBodyBytes ?? row.body.maxBytes, checkReply: checkReplies ? replyCheck(row) : undefined }
}

/** Bytes of the body that will come; undefined when anything about the request needs a second look. */
function plainLength(request: IncomingMessage, { row, maxBytes }: DirectRow): number | undefined {
  const { headers, rawHeaders } = request
  const given = headers['content-length']
  if (given === undefined || !LENGTH.test(given) || Number(given) > maxBytes) return undefined
  if (headers['transfer-encoding'] !== undefined || headers.expect !== undefined || headers.upgrade !== undefined) return undefined
  if (rawHeaders.length > 2 * MAX_HEADER_FIELDS || isRepeated(rawHeaders, 'authorization')) return undefined
  return checkMediaType(row, request).ok ? Number(given) : undefined
}

/** One request from its headers to the end of its answer. */
class Visit {
  readonly #found: DirectRow
  readonly #around: DoorSurroundings
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #exchange: Exchange
  readonly #began = performance.now()

  constructor(found: DirectRow, around: DoorSurroundings, request: IncomingMessage, response: ServerResponse) {
    this.#found = found
    this.#around = around
    this.#request = request
    this.#response = response
    const { method, path } = found.row
    this.#exchange = openExchange(newId('request'), around.sourceOf(request), request.headers, () => `${method} ${path}`)
    response.once('close', () => this.#closed())
  }

  /** The parser ends the body at its length, and with it the request: nothing that follows can get in here. */
  read(length: number): void {
    const chunks: Buffer[] = []
    let left = length
    this.#request.on('data', (chunk: Buffer) => {
      left -= chunk.length
      if (left === 0 && chunks.length === 0) void this.#serve(chunk)
      else {
        chunks.push(chunk)
        if (left === 0) void this.#serve(Buffer.concat(chunks, length))
      }
    })
  }

  /** Never rejects. */
  async #serve(bytes: Buffer): Promise<void> {
    const { row, checkReply } = this.#found
    try {
      const body = readBody(row, bytes, undefined)
      if (!body.ok) return this.#refuse(body)
      const parts = { params: undefined, query: undefined, body: body.value, idempotency: null }
      const result = row.handle(new RouteCall(this.#exchange, this.#request, parts, this.#around.draining))
      const given = asAnswer(result instanceof Promise ? await result : result, row)
      if (!(given instanceof Answer)) return this.#refuse(given)
      checkReply?.(given)
      if (given.contentType !== undefined) throw new TypeError(`${row.path} answered with something other than JSON`)
      const text = jsonText(given.body)
      this.#send(given.status, text === '' ? given.headers : { ...given.headers, 'content-type': 'application/json; charset=utf-8' }, text)
    } catch (error) {
      this.#refuse(refuse(this.#around.broke(error, this.#exchange, row.path)))
    }
  }

  #refuse(refusal: Refusal): void {
    const { status, headers, body } = (this.#found.row.refusal ?? problem)(refusal, {
      service: this.#around.service,
      requestId: this.#exchange.id,
    })
    this.#send(status, headers, body)
  }

  #send(status: number, headers: Readonly<Record<string, string>>, body: string): void {
    // Who left is not written to.
    if (this.#response.destroyed || this.#response.headersSent) return
    const lines = [...FIXED_HEADERS, 'x-request-id', this.#exchange.id]
    for (const name of Object.keys(headers)) lines.push(name, headers[name] ?? '')
    if (this.#around.isDraining()) lines.push('connection', 'close')
    lines.push('content-length', String(Buffer.byteLength(body)))
    this.#response.writeHead(status, lines).end(body)
  }

  #closed(): void {
    const { writableFinished, statusCode } = this.#response
    if (!writableFinished) {
      this.#exchange.gone.happened()
      this.#exchange.span.end()
      return
    }
    const { method, path } = this.#found.row
    const seconds = (performance.now() - this.#began) / 1000
    this.#around.answered(this.#exchange, { route: path, method, status: statusCode, seconds })
  }
}
