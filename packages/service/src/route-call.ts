import type { IncomingHttpHeaders } from 'node:http'
import type { RequestId, ZoneId } from '@caracal/core'
import type { Departure } from './departure.ts'
import type { Exchange } from './exchange.ts'
import type { IdempotencyClaim } from './idempotency.ts'
import type { TraceContext } from './trace.ts'
import type { Principal } from './who.ts'

/** What of a request the row's checks have made. */
export type Given = {
  readonly params: unknown
  readonly query: unknown
  readonly body: unknown
  readonly idempotency: IdempotencyClaim | null
}

type Message = { readonly headers: IncomingHttpHeaders; readonly method?: string | undefined; readonly url?: string | undefined }

/** The `RouteRequest` of a handler. Hardly any handler asks for the signal: it is made for those that do. */
export class RouteCall {
  readonly id: RequestId
  readonly clientRequestId: string | undefined
  readonly principal: Principal
  readonly zone: ZoneId | null
  readonly params: never
  readonly query: never
  readonly body: never
  readonly headers: IncomingHttpHeaders
  readonly method: string
  readonly url: string
  readonly source: string
  readonly trace: TraceContext
  readonly idempotency: IdempotencyClaim | null
  readonly #gone: Departure
  readonly #draining: AbortSignal

  constructor(exchange: Exchange, message: Message, given: Given, draining: AbortSignal) {
    this.id = exchange.id
    this.clientRequestId = exchange.clientRequestId
    this.principal = exchange.principal
    this.zone = exchange.zone
    this.params = given.params as never
    this.query = given.query as never
    this.body = given.body as never
    this.headers = message.headers
    this.method = message.method ?? ''
    this.url = message.url ?? ''
    this.source = exchange.source
    this.trace = exchange.trace
    this.idempotency = given.idempotency
    this.#gone = exchange.gone
    this.#draining = draining
  }

  get signal(): AbortSignal {
    return AbortSignal.any([this.#gone.signal, this.#draining])
  }
}
