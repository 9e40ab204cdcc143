import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'

/** Why an upload ends early. */
export type UploadFault = 'body_too_large' | 'client_gone' | 'request_timeout' | 'not_implemented'

export class UploadError extends Error {
  override readonly name = 'UploadError'
  readonly reason: UploadFault

  constructor(reason: UploadFault) {
    super(reason)
    this.reason = reason
  }
}

export type UploadLimits = {
  readonly maxBytes: number
  /** Longest silence of a client whose bytes are waited for. Milliseconds. */
  readonly idleMs: number
}

/** How long a decision waits for what a rule reads. Milliseconds. */
const PEEK_MS = 30_000

/** Whether a request has a body, by its framing (RFC 9112 §6.3). */
export function hasBody(request: IncomingMessage): boolean {
  const length = request.headers['content-length']
  return request.headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0')
}

/**
 * The body of a request on its way upstream: counted, capped, with back-pressure to the client, byte for byte. It belongs to
 * the exchange alone: destroying it leaves the client's connection open, so that a refusal can still be sent.
 * Nothing is read before somebody asks for it; `onStart` is where `100 Continue` goes out.
 */
export class UploadBody extends Readable {
  readonly #request: IncomingMessage
  readonly #limits: UploadLimits
  readonly #onStart: () => void
  /** From the first byte that is asked for: by then the limits of the resource are known. */
  #idle: NodeJS.Timeout | undefined
  #early: Buffer[] | null = null
  #onEarly: (() => void) | null = null
  #started = false
  #ended = false
  #bytes = 0

  constructor(request: IncomingMessage, limits: UploadLimits, onStart: () => void = () => {}) {
    super({ highWaterMark: 64 * 1024 })
    this.#request = request
    this.#limits = limits
    this.#onStart = onStart
    this.on('error', () => {}) // Whoever reads it hears of it through the pipeline; alone it must not end the process.
  }

  /** Bytes that came so far. */
  get bytes(): number {
    return this.#bytes
  }

  /**
   * The first bytes, up to about `limit`, without taking them away, for a decision that reads the body. `complete` says whether that
   * is all of it. They must come within `withinMs`, so that a byte a second does not keep a decision waiting. Rejects with
   * `UploadError`. To be called once, before the body is read.
   */
  async peek(limit: number, withinMs = PEEK_MS): Promise<{ readonly bytes: Buffer; readonly complete: boolean }> {
    const early: Buffer[] = []
    this.#early = early
    const late = setTimeout(() => this.destroy(new UploadError('request_timeout')), Math.min(withinMs, this.#limits.idleMs))
    late.unref()
    await new Promise<void>((resolve, reject) => {
      let size = 0
      const failed = (error: Error) => {
        clearTimeout(late)
        reject(error)
      }
      const done = () => {
        clearTimeout(late)
        this.#request.pause()
        this.off('error', failed)
        this.#onEarly = null
        resolve()
      }
      this.once('error', failed)
      this.#onEarly = () => {
        size += early.at(-1)?.length ?? 0
        if (this.#ended || size >= limit) done()
      }
      this.#start()
      if (this.#ended) done()
      else this.#request.resume()
    })
    return { bytes: early.length === 1 ? (early[0] ?? Buffer.alloc(0)) : Buffer.concat(early), complete: this.#ended }
  }

  override _read(): void {
    this.#start()
    const early = this.#early
    if (early !== null) {
      this.#early = null
      let more = true
      for (const chunk of early) more = this.push(chunk)
      if (this.#ended) {
        this.push(null)
        return
      }
      if (!more) return
    }
    this.#idle?.refresh()
    this.#request.resume()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.#idle)
    this.#request.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose)
    this.#request.pause()
    done(error)
  }

  #start(): void {
    if (this.#started) return
    this.#started = true
    this.#idle = setTimeout(() => this.#onIdle(), this.#limits.idleMs)
    this.#idle.unref()
    this.#onStart()
    this.#request.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose).on('error', ignore)
    this.#request.pause()
    if (this.#request.destroyed && !this.#request.complete) this.destroy(new UploadError('client_gone'))
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#bytes += chunk.length
    this.#idle?.refresh()
    if (this.#bytes > this.#limits.maxBytes) {
      this.destroy(new UploadError('body_too_large'))
      return
    }
    if (this.#early !== null) {
      this.#early.push(chunk)
      this.#onEarly?.()
    } else if (!this.push(chunk)) this.#request.pause()
  }

  readonly #onEnd = (): void => {
    // Trailers of requests cannot be passed on yet: losing them silently would be worse (P-072).
    if (this.#request.rawTrailers.length > 0) {
      this.destroy(new UploadError('not_implemented'))
      return
    }
    this.#ended = true
    clearTimeout(this.#idle)
    if (this.#early !== null) {
      this.#early.push(Buffer.alloc(0))
      this.#onEarly?.()
    } else this.push(null)
  }

  readonly #onClose = (): void => {
    if (!this.#ended) this.destroy(new UploadError('client_gone'))
  }

  #onIdle(): void {
    if (this.#request.isPaused()) this.#idle?.refresh()
    else this.destroy(new UploadError('request_timeout'))
  }
}

function ignore(): void {}
