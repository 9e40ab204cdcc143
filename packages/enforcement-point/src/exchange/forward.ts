import type { IncomingMessage, ServerResponse } from 'node:http'
import { REASONS, type Reason, type Refusal, type Resource, refuse } from '@caracal/core'
import type { Dispatcher } from 'undici'
import type { ResponsePlace } from '../headers/header-hygiene.ts'
import { upstreamFault } from '../upstream/upstream-error.ts'
import type { Lease } from '../upstream/upstream-pools.ts'
import { ClientResponse } from './client-response.ts'
import { UploadBody, UploadError } from './upload-body.ts'

export type ForwardInput = {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly lease: Lease
  /** Null when the request has none; bytes when it was read already. */
  readonly body: UploadBody | Buffer | null
  /** Path below the upstream's origin with its query, byte for byte as it goes out. */
  readonly path: string
  /** Host header of the upstream. */
  readonly host: string
  /** What goes upstream: after hygiene, with the credential. */
  readonly headers: readonly string[]
  /** Texts that must not come back. */
  readonly secrets: readonly string[]
  readonly place: ResponsePlace
  readonly timeouts: Resource['timeouts']
  /** Headers that the Gateway adds to the response. */
  readonly added: readonly string[]
  /**
   * Answers the client in our own name. Called at most once, and only before any byte of a response went out. `wentOut`: a connection
   * had taken the request; otherwise the upstream cannot have heard of it.
   */
  readonly refuse: (refusal: Refusal, wentOut: boolean) => void
  /** The upstream's answer begins: status and headers as they came. */
  readonly onAnswer?: (status: number, rawHeaders: readonly string[]) => void
  readonly monotonic?: () => number
}

/** How a forwarded call ended; goes into the evidence. */
export type Outcome = {
  /** What the client got, or 499 when it was gone. */
  readonly status: number
  /** Bytes of the bodies, without framing. */
  readonly bytes_in: number
  readonly bytes_out: number
  readonly latency_ms: number
  readonly upstream: string
  /** Why it did not end by itself. */
  readonly interrupted?: Reason
}

export type RunningExchange = {
  /** Resolves when both sides are done. Never rejects. */
  readonly done: Promise<Outcome>
  /** Whether the upstream may have heard of it. */
  wentOut(): boolean
  /** Ends it at once, whatever it is doing: the upstream is dropped, the client gets a refusal or the end of its stream. */
  cut(reason: Reason): void
}

/** Methods that may be sent again when the connection broke before an answer began (P-073); only without a body. */
const REPEATABLE = new Set(['GET', 'HEAD', 'OPTIONS'])

/** Cuts that an open stream tells its client nothing of in a trailer: they say nothing about its authority. */
const UNANNOUNCED: ReadonlySet<Reason> = new Set(['revocation_view_stale', 'draining'])

/**
 * Sends a governed call upstream and streams the answer back: bytes unchanged both ways, back-pressure both ways, nothing decompressed,
 * nothing collected beyond what the leak scan holds. Redirects are relayed. A client that goes away ends the upstream call.
 */
export function forward(input: ForwardInput): RunningExchange {
  const exchange = new Exchange(input)
  exchange.start()
  return { done: exchange.done, wentOut: () => exchange.wentOut, cut: (reason) => exchange.end(refuse(reason), !UNANNOUNCED.has(reason)) }
}

class Exchange implements Dispatcher.DispatchHandler {
  readonly done: Promise<Outcome>
  readonly #input: ForwardInput
  /** The upload, while there may be one to end. */
  readonly #upload: UploadBody | null
  readonly #client: ClientResponse
  readonly #monotonic: () => number
  readonly #startedAt: number
  #resolve: (outcome: Outcome) => void = () => {}
  #controller: Dispatcher.DispatchController | null = null
  #connecting: NodeJS.Timeout | undefined
  #queued = false
  #wentOut = false
  #answered = false
  #retried = false
  #ended = false
  #settled = false
  #interrupted: Reason | undefined
  #refused: number | undefined

  constructor(input: ForwardInput) {
    this.#input = input
    this.#upload = input.body instanceof UploadBody ? input.body : null
    this.#monotonic = input.monotonic ?? (() => performance.now())
    this.#startedAt = this.#monotonic()
    this.done = new Promise((resolve) => {
      this.#resolve = resolve
    })
    this.#client = new ClientResponse({
      response: input.response,
      requestMethod: input.request.method ?? '',
      place: input.place,
      added: input.added,
      secrets: input.secrets,
      timeouts: input.timeouts,
      pause: () => this.#controller?.pause(),
      resume: () => this.#controller?.resume(),
      fail: (reason) => this.end(refuse(reason)),
    })
  }

  get wentOut(): boolean {
    return this.#wentOut
  }

  start(): void {
    const { response } = this.#input
    response.once('close', () => this.#onClientClosed())
    if (response.destroyed) {
      this.end(refuse('client_gone'))
      this.#onClientClosed()
      return
    }
    // A body that cannot be read any more fails the call even while it still waits for a connection.
    this.#upload?.once('error', (error) => this.onResponseError(null, error))
    this.#dispatch()
  }

  /** Ends the call for a reason of ours. `announce`: an open stream says in a trailer that it was cut. */
  end(refusal: Refusal, announce = false): void {
    if (this.#ended) return
    this.#ended = true
    this.#interrupted = refusal.reason
    clearTimeout(this.#connecting)
    this.#controller?.abort(new Error('the exchange was ended'))
    this.#upload?.destroy()
    const { response } = this.#input
    if (refusal.reason === 'client_gone' || response.destroyed) response.destroy()
    else if (this.#client.begun) this.#client.breakOff(announce)
    else {
      this.#refused = REASONS[refusal.reason].status
      this.#client.abandon()
      this.#input.refuse(refusal, this.#wentOut)
    }
    // Waiting in the pool's queue takes a place until the pool asks for it.
    if (!this.#queued) this.#input.lease.release()
    if (response.closed) this.#settle()
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    clearTimeout(this.#connecting)
    this.#queued = false
    this.#controller = controller
    const { lease } = this.#input
    lease.breaker.connected()
    if (!this.#ended) {
      this.#wentOut = true
      return
    }
    lease.release()
    controller.abort(new Error('the exchange was ended'))
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, _headers: unknown, statusText?: string): void {
    if (this.#ended) return
    const raw = latin1(controller.rawHeaders)
    if (status < 200) {
      this.#client.informational(status, raw)
      return
    }
    this.#answered = true
    this.#input.lease.breaker.answered()
    this.#input.onAnswer?.(status, raw)
    this.#client.head(status, statusText ?? '', raw)
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (!this.#ended) this.#client.data(chunk)
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    if (this.#ended) return
    this.#client.finish(latin1(controller.rawTrailers))
    if (this.#ended) return
    this.#ended = true
    this.#upload?.destroy()
    this.#input.lease.release()
  }

  onResponseError(controller: Dispatcher.DispatchController | null, error: Error): void {
    const { request, body, lease } = this.#input
    if (this.#ended) {
      lease.release()
      return
    }
    const fault = upstreamFault(error)
    if (fault.retryable && !this.#answered && !this.#retried && body === null && REPEATABLE.has(request.method ?? '')) {
      this.#retried = true
      this.#controller = null
      this.#dispatch()
      return
    }
    if (controller !== null || !(error instanceof UploadError)) this.#queued = false
    if (fault.health !== null && !this.#answered) lease.breaker.failed(fault.health)
    this.end(fault.refusal)
  }

  #dispatch(): void {
    const { request, lease, body, path, host, headers, timeouts } = this.#input
    this.#queued = true
    lease.dispatch(
      {
        path,
        method: request.method ?? 'GET',
        headers: ['host', host, ...headers],
        body,
        headersTimeout: timeouts.firstByte * 1000,
        bodyTimeout: 0,
      },
      this,
    )
    // A free connection has taken it by now. The guard and the pool have their own, shorter limits: this one covers the wait for one.
    if (!this.#queued || this.#ended) return
    this.#connecting = setTimeout(() => this.#onNoConnection(), 2_000 * timeouts.connect + 1_000)
    this.#connecting.unref()
  }

  #onNoConnection(): void {
    this.end(refuse('upstream_timeout', 'no connection to the upstream in time'))
  }

  #onClientClosed(): void {
    if (!this.#input.response.writableFinished) this.end(refuse('client_gone'))
    this.#settle()
  }

  #settle(): void {
    if (this.#settled) return
    this.#settled = true
    this.#client.abandon()
    const { body, place } = this.#input
    const received = body instanceof UploadBody ? body.bytes : (body?.length ?? 0)
    const status = this.#client.begun ? this.#client.status : (this.#refused ?? REASONS.client_gone.status)
    this.#resolve({
      status,
      bytes_in: received,
      bytes_out: this.#client.bytes,
      latency_ms: Math.round(this.#monotonic() - this.#startedAt),
      upstream: place.upstreamOrigin,
      ...(this.#interrupted === undefined ? {} : { interrupted: this.#interrupted }),
    })
  }
}

/** Header bytes as they came: what is not ASCII keeps its bytes through latin1. */
function latin1(raw: Dispatcher.DispatchController['rawHeaders']): string[] {
  if (!Array.isArray(raw)) return []
  return raw.map((part) => (typeof part === 'string' ? part : part.toString('latin1')))
}
