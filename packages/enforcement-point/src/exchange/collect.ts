import { ok, type Result, refuse } from '@caracal/core'
import type { Dispatcher } from 'undici'
import { upstreamFault } from '../upstream/upstream-error.ts'
import type { Lease } from '../upstream/upstream-pools.ts'

/** An upstream's whole answer, when it has to be looked at before anybody gets it. */
export type Collected = {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Buffer
}

export type CollectInput = {
  readonly lease: Lease
  readonly path: string
  readonly host: string
  readonly method: string
  /** Flat list of names and values. */
  readonly headers: readonly string[]
  readonly body: Buffer | null
  /** For the whole exchange. Milliseconds. */
  readonly timeoutMs: number
  /** Of the answer. Bytes. */
  readonly maxBytes: number
  /** A connection takes the request: from here on the upstream may have heard of it. */
  readonly onSent?: () => void
  /** Ends the exchange when it fires. */
  readonly signal?: AbortSignal
  /** Whether what came so far is the whole of what is asked for: an event stream may stay open after it. */
  readonly isComplete?: (body: Buffer, headers: Collected['headers']) => boolean
}

/** Sends one request over a lease and takes the whole answer. The lease is given back. Codings are not undone: ask for none. */
export function collect(input: CollectInput): Promise<Result<Collected>> {
  return new Promise((resolve) => {
    const collector = new Collector(input, resolve)
    collector.start()
  })
}

class Collector implements Dispatcher.DispatchHandler {
  readonly #input: CollectInput
  readonly #resolve: (result: Result<Collected>) => void
  readonly #late: NodeJS.Timeout
  readonly #onAbort = () => this.#finish(refuse('client_gone'))
  #controller: Dispatcher.DispatchController | null = null
  #status = 0
  #headers: Collected['headers'] = {}
  #parts: Buffer[] = []
  #size = 0
  #done = false

  constructor(input: CollectInput, resolve: (result: Result<Collected>) => void) {
    this.#input = input
    this.#resolve = resolve
    this.#late = setTimeout(() => this.#fail('answer', refuse('upstream_timeout')), input.timeoutMs)
    this.#late.unref()
  }

  start(): void {
    const { lease, path, host, method, headers, body, timeoutMs, signal } = this.#input
    if (signal?.aborted === true) {
      this.#onAbort()
      return
    }
    signal?.addEventListener('abort', this.#onAbort, { once: true })
    lease.dispatch({ path, method, headers: ['host', host, ...headers], body, headersTimeout: timeoutMs, bodyTimeout: timeoutMs }, this)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    this.#input.lease.breaker.connected()
    if (this.#done) controller.abort(new Error('the exchange was ended'))
    else this.#input.onSent?.()
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: Collected['headers']): void {
    if (status < 200) return
    this.#status = status
    this.#headers = headers
    this.#input.lease.breaker.answered()
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#done) return
    this.#size += chunk.length
    if (this.#size > this.#input.maxBytes) {
      this.#fail(null, refuse('upstream_protocol_error', 'the answer is too large'))
      return
    }
    this.#parts.push(chunk)
    if (this.#input.isComplete === undefined) return
    const body = Buffer.concat(this.#parts)
    this.#parts = [body]
    if (this.#input.isComplete(body, this.#headers)) this.#succeed()
  }

  onResponseEnd(): void {
    this.#succeed()
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    const fault = upstreamFault(error)
    this.#fail(fault.health, fault.refusal)
  }

  #succeed(): void {
    this.#finish(ok({ status: this.#status, headers: this.#headers, body: Buffer.concat(this.#parts) }))
  }

  #fail(health: 'connect' | 'answer' | null, refusal: Result<Collected>): void {
    if (!this.#done && health !== null && this.#status === 0) this.#input.lease.breaker.failed(health)
    this.#finish(refusal)
  }

  #finish(result: Result<Collected>): void {
    if (this.#done) return
    this.#done = true
    clearTimeout(this.#late)
    this.#input.signal?.removeEventListener('abort', this.#onAbort)
    this.#controller?.abort(new Error('the exchange was ended'))
    this.#input.lease.release()
    this.#resolve(result)
  }
}
