import { CaracalError, errorOf } from './caracal-error.ts'
import { type ClientAuthentication, type MandateRequest, MandateSource } from './mandate-source.ts'

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
    return (await this.#mandates.get(request)).token
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

/** Ends early, with the reason of the abort, when the caller gives up. */
function pause(milliseconds: number, signal: AbortSignal | null | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const aborted = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', aborted)
      resolve()
    }, milliseconds)
    signal?.addEventListener('abort', aborted, { once: true })
  })
}
