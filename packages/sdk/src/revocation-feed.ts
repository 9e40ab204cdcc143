import { CaracalError, errorOf } from './caracal-error.ts'

/** What a verifier must know of revocations. Mandatory for `verifyMandate`: without it nothing is accepted. */
export type RevocationSource = {
  /** The first of these ids that is revoked, else null. */
  revoked(ids: readonly string[]): string | null
  /** Whether it can be shown that nothing was missed. */
  fresh(): boolean
}

export type RevocationFeedOptions = {
  readonly apiUrl: string
  /** Zone id, `zon_…`. */
  readonly zone: string
  /** Admin token with the role `viewer` in that zone. */
  readonly token: string
  /** A view older than this counts as unknown. Milliseconds; 5,000 at most and by default. */
  readonly maxAge?: number
  /** Monotonic milliseconds; a test turns it by hand. */
  readonly monotonic?: () => number
  readonly fetch?: typeof fetch
}

const MAX_AGE = 5_000
/** A revoked id is kept until no mandate that names it can live: the longest mandate and the accepted skew. */
const KEEP_MS = (900 + 60) * 1000

/**
 * Follows the revocations of a zone over server-sent events: a snapshot, then every revocation, and a heartbeat each second.
 * Reconnects with backoff; while it cannot, the view ages and `fresh()` turns false.
 */
export class RevocationFeed implements RevocationSource {
  readonly #options: RevocationFeedOptions
  readonly #monotonic: () => number
  readonly #maxAge: number
  #revoked = new Map<string, number>()
  #aliveAt = Number.NEGATIVE_INFINITY
  readonly #stopped = new AbortController()

  constructor(options: RevocationFeedOptions) {
    this.#options = options
    this.#monotonic = options.monotonic ?? (() => performance.now())
    this.#maxAge = Math.min(options.maxAge ?? MAX_AGE, MAX_AGE)
  }

  /** Resolves when the first snapshot is loaded; throws when the API refuses. Then follows until `close()`. */
  async start(): Promise<void> {
    const reader = await this.#connect()
    await this.#untilSnapshot(reader)
    void this.#follow(reader)
  }

  revoked(ids: readonly string[]): string | null {
    for (const id of ids) if (this.#revoked.has(id)) return id
    return null
  }

  fresh(): boolean {
    return this.#monotonic() - this.#aliveAt <= this.#maxAge
  }

  close(): void {
    this.#stopped.abort()
  }

  async #connect(): Promise<AsyncIterator<ServerSentEvent>> {
    const { apiUrl, zone, token } = this.#options
    const response = await (this.#options.fetch ?? fetch)(`${apiUrl.replace(/\/+$/, '')}/v1/zones/${zone}/revocations/feed`, {
      headers: { authorization: `Bearer ${token}`, accept: 'text/event-stream' },
      signal: this.#stopped.signal,
    }).catch((cause: unknown) => {
      throw new CaracalError(`the API at ${apiUrl} cannot be reached`, { code: 'unreachable', status: 0, cause })
    })
    if (!response.ok) throw await errorOf(response)
    if (response.body === null) throw new CaracalError('the feed has no body', { code: 'invalid_request', status: response.status })
    return serverSentEvents(response.body)
  }

  async #untilSnapshot(events: AsyncIterator<ServerSentEvent>): Promise<void> {
    for (;;) {
      const { value, done } = await events.next()
      if (done) throw new CaracalError('the feed ended before its snapshot', { code: 'unreachable', status: 0 })
      this.#take(value)
      if (value.event === 'snapshot') return
    }
  }

  async #follow(first: AsyncIterator<ServerSentEvent>): Promise<void> {
    let events: AsyncIterator<ServerSentEvent> | undefined = first
    let wait = 100
    while (!this.#stopped.signal.aborted) {
      try {
        events ??= await this.#connect()
        const { value, done } = await events.next()
        if (done) throw new Error('the feed ended')
        this.#take(value)
        wait = 100
      } catch {
        events = undefined
        await new Promise((resolve) => setTimeout(resolve, wait * (0.5 + Math.random() / 2)))
        wait = Math.min(wait * 2, 5_000)
      }
    }
  }

  #take({ event, data }: ServerSentEvent): void {
    const now = this.#monotonic()
    if (event === 'snapshot') {
      const { entries } = JSON.parse(data) as { entries: readonly { id: string }[] }
      this.#revoked = new Map(entries.map((entry) => [entry.id, now + KEEP_MS]))
    } else if (event === 'revocation') {
      const { op, id } = JSON.parse(data) as { op: 'revoke' | 'lift'; id: string }
      if (op === 'lift') this.#revoked.delete(id)
      else this.#revoked.set(id, now + KEEP_MS)
    } else if (event !== 'heartbeat') return
    for (const [id, until] of this.#revoked) if (until < now) this.#revoked.delete(id)
    this.#aliveAt = now
  }
}

type ServerSentEvent = { readonly event: string; readonly data: string }

/** The events of a `text/event-stream` body (HTML, section 9.2.6): only what the feed uses, `event` and `data`. */
async function* serverSentEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerSentEvent, void> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true })
    for (let end = rest.indexOf('\n\n'); end !== -1; end = rest.indexOf('\n\n')) {
      const lines = rest.slice(0, end).split('\n')
      rest = rest.slice(end + 2)
      const field = (name: string) =>
        lines
          .filter((line) => line.startsWith(`${name}:`))
          .map((line) => line.slice(name.length + 1).replace(/^ /, ''))
          .join('\n')
      const data = field('data')
      if (data !== '') yield { event: field('event') || 'message', data }
    }
  }
}
