import { CaracalError, errorOf } from './caracal-error.ts'
import { type ClientAuthentication, type MandateRequest, MandateSource } from './mandate-source.ts'
import { pause } from './pause.ts'
import { type CaracalEvent, type CaracalSession, SessionClient, type SessionOptions } from './session.ts'

export type CaracalOptions = {
  readonly stsUrl: string
  readonly gatewayUrl: string
  /** The application's id, `app_…`. */
  readonly clientId: string
  readonly authentication: ClientAuthentication
  /** Milliseconds since the epoch; a test turns it by hand. */
  readonly now?: () => number
  readonly fetch?: typeof fetch
  /** How often a call that may be repeated is tried again when a service of ours is away or busy; 2 when absent. */
  readonly retries?: number
  /** For `session`: where the Coordinator is, the id of the zone, and its issuer where that is not `{stsUrl}/zones/{zone}`. */
  readonly coordinatorUrl?: string
  readonly zone?: string
  readonly issuer?: string
  /** Told of what went wrong beside a result, e.g. a session that could not be ended. A throw of its own changes nothing. */
  readonly onEvent?: (event: CaracalEvent) => void
}

export type CaracalRequestInit = RequestInit & Omit<MandateRequest, 'resource'>

const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])
const RETRIES = 2
/** The first pause is up to twice this, the next up to four times. */
const PAUSE_MS = 100

/**
 * Governed calls for agents.
 *
 * ```ts
 * const caracal = new Caracal({ stsUrl, gatewayUrl, clientId, authentication: { clientSecret } })
 * const notes = await caracal.fetch('https://notes.example/', '/notes', { scopes: ['notes:read'] })
 * ```
 */
export class Caracal {
  readonly #options: CaracalOptions
  readonly #mandates: MandateSource
  /** Sessions whose callback runs, with the promise of their end once that has begun. */
  readonly #sessions = new Map<string, Promise<void> | undefined>()
  readonly #starting = new Set<Promise<unknown>>()
  #closed = false

  constructor(options: CaracalOptions) {
    this.#options = options
    this.#mandates = new MandateSource(options)
  }

  /**
   * Calls `path` (with query, below the resource's base) at the resource through the Gateway.
   * Gets a mandate when none is at hand. Only calls of idempotent methods whose body can be sent again are repeated: once with another
   * mandate when the Gateway no longer takes it, and while a service of ours is away or busy, after the time it names (at most 10 s)
   * or a random pause. What the upstream answers is never repeated.
   * Returns the upstream's response whatever its status; a refusal of Caracal is a `CaracalError`, never a response.
   */
  async fetch(resource: string, path: string, init: CaracalRequestInit = {}): Promise<Response> {
    this.#assertOpen()
    const { scopes, session, delegation, ttlSeconds, once, ...request } = init
    if (!path.startsWith('/')) throw new CaracalError('the path must begin with /', { code: 'invalid_request', status: 400 })
    const wanted: MandateRequest = {
      resource,
      ...(scopes === undefined ? {} : { scopes }),
      ...(session === undefined ? {} : { session }),
      ...(delegation === undefined ? {} : { delegation }),
      ...(ttlSeconds === undefined ? {} : { ttlSeconds }),
      ...(once === undefined ? {} : { once }),
    }
    const repeatable = IDEMPOTENT.has((request.method ?? 'GET').toUpperCase()) && !(request.body instanceof ReadableStream)
    const retries = this.#options.retries ?? RETRIES
    let renewed = false
    for (let tried = 0; ; ) {
      try {
        return await this.#call(wanted, path, request)
      } catch (error) {
        if (!(error instanceof CaracalError) || !repeatable) throw error
        if (error.status === 401 && !renewed) {
          renewed = true
          continue
        }
        if (!error.retryable || tried === retries) throw error
        tried += 1
        await pause(error.retryAfter === undefined ? Math.random() * PAUSE_MS * 2 ** tried : error.retryAfter * 1000, request.signal)
      }
    }
  }

  /** A mandate for clients that speak for themselves, e.g. `npm` or an SDK with a base URL of its own. */
  async mandate(request: MandateRequest): Promise<string> {
    this.#assertOpen()
    return (await this.#mandates.get(request)).token
  }

  /**
   * Runs `work` within a new task session and ends the session when it is done, and everything below it. What `work` returns or throws
   * is what the caller gets: an end that fails is tried again, with another mandate when the one at hand is refused, and then
   * reported to `onEvent`.
   */
  async session<T>(options: SessionOptions, work: (session: CaracalSession) => Promise<T>): Promise<T> {
    this.#assertOpen()
    const client = this.#sessionClient()
    const starting = client.start(options).then((id) => {
      this.#sessions.set(id, undefined)
      return id
    })
    this.#starting.add(starting)
    const id = await starting.finally(() => this.#starting.delete(starting))
    try {
      this.#assertOpen()
      return await work({ id, fetch: (resource, path, init = {}) => this.fetch(resource, path, { ...init, session: id }) })
    } finally {
      await this.#end(client, id)
    }
  }

  /** Ends every session that is open and takes no further calls. Any number of times; resolves when all of them were tried. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.allSettled(this.#starting)
    if (this.#sessions.size === 0) return
    const client = this.#sessionClient()
    await Promise.all([...this.#sessions.keys()].map((id) => this.#end(client, id)))
  }

  /** Once for each session, whoever asks; never rejects. */
  #end(client: SessionClient, id: string): Promise<void> {
    if (!this.#sessions.has(id)) return Promise.resolve()
    const ending =
      this.#sessions.get(id) ??
      client
        .end(id)
        .catch((error: unknown) => {
          const told =
            error instanceof CaracalError
              ? error
              : new CaracalError('ending the session broke', { code: 'internal_error', status: 0, cause: error })
          try {
            this.#options.onEvent?.({ type: 'session_not_ended', session: id, error: told })
          } catch {
            // The caller's own listener broke: the result is his all the same.
          }
        })
        .finally(() => this.#sessions.delete(id))
    this.#sessions.set(id, ending)
    return ending
  }

  #sessionClient(): SessionClient {
    const { coordinatorUrl, zone, stsUrl } = this.#options
    if (coordinatorUrl === undefined || zone === undefined)
      throw new CaracalError('sessions need coordinatorUrl and zone', { code: 'invalid_request', status: 400 })
    const own: MandateRequest = { resource: this.#options.issuer ?? `${stsUrl.replace(/\/+$/, '')}/zones/${zone}`, scopes: ['sessions'] }
    return new SessionClient({
      coordinatorUrl,
      zone,
      mandate: async () => (await this.#mandates.get(own)).token,
      forget: (token) => this.#mandates.forget(token),
      ...(this.#options.fetch === undefined ? {} : { fetch: this.#options.fetch }),
    })
  }

  #assertOpen(): void {
    if (this.#closed) throw new CaracalError('this client is closed', { code: 'closed', status: 400 })
  }

  async #call(wanted: MandateRequest, path: string, request: RequestInit): Promise<Response> {
    const { token } = await this.#mandates.get(wanted)
    const headers = new Headers(request.headers)
    headers.set('authorization', `Bearer ${token}`)
    headers.set('x-caracal-resource', wanted.resource)
    const { gatewayUrl } = this.#options
    const response = await (this.#options.fetch ?? fetch)(gatewayUrl.replace(/\/+$/, '') + path, {
      ...request,
      headers,
      redirect: 'manual',
    }).catch((cause: unknown) => {
      throw new CaracalError(`the Gateway at ${gatewayUrl} cannot be reached`, {
        code: 'unreachable',
        status: 0,
        cause,
        remedy: 'Check the address and that the Gateway runs.',
      })
    })
    if (response.headers.get('x-caracal-source') === null) return response
    if (response.status === 401) this.#mandates.forget(token)
    throw await errorOf(response)
  }
}
