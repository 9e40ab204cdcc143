import type { CaracalRequestInit } from './caracal.ts'
import { CaracalError, errorOf } from './caracal-error.ts'
import { pause } from './pause.ts'

export type SessionOptions = {
  /** Seconds that the session lives at most. */
  readonly ttlSeconds: number
  /** Id of the session above it, of the same application. */
  readonly parent?: string
  readonly labels?: readonly string[]
}

/** A session while its callback runs. */
export type CaracalSession = {
  readonly id: string
  /** As `Caracal.fetch`, within this session. */
  fetch(resource: string, path: string, init?: Omit<CaracalRequestInit, 'session'>): Promise<Response>
}

/** What happened beside the result of a call: nothing that the caller must react to, something that operators want to know. */
export type CaracalEvent = {
  /** The session was not ended: it ends by itself when its time is over. */
  readonly type: 'session_not_ended'
  readonly session: string
  readonly error: CaracalError
}

export type SessionClientOptions = {
  readonly coordinatorUrl: string
  /** Zone id, `zon_…`. */
  readonly zone: string
  /** A mandate for Caracal itself; `forget` drops the one that was refused. */
  readonly mandate: () => Promise<string>
  readonly forget: (token: string) => void
  readonly fetch?: typeof fetch
}

const TRIES = 4
const PAUSE_MS = 100
/** So long one attempt may take: clean-up must not hold a result back for ever. */
const ATTEMPT_MS = 5_000

/** Starts and ends sessions at the Coordinator. Both may be asked for again: a start carries an idempotency key, an end is one. */
export class SessionClient {
  readonly #options: SessionClientOptions

  constructor(options: SessionClientOptions) {
    this.#options = options
  }

  async start({ ttlSeconds, parent, labels }: SessionOptions): Promise<string> {
    const body = JSON.stringify({
      kind: 'task',
      ttl: ttlSeconds,
      ...(parent === undefined ? {} : { parent }),
      ...(labels === undefined ? {} : { labels }),
    })
    const answer = await this.#insist('', body)
    return ((await answer.json()) as { id: string }).id
  }

  async end(session: string): Promise<void> {
    const answer = await this.#insist(`/${encodeURIComponent(session)}/end`, undefined)
    await answer.arrayBuffer()
  }

  /** With another mandate when the one at hand is not taken any more, and again while a service is away or busy. */
  async #insist(path: string, body: string | undefined): Promise<Response> {
    const key = `"${crypto.randomUUID()}"`
    for (let tried = 1; ; tried += 1) {
      try {
        return await this.#post(path, key, body)
      } catch (error) {
        if (!(error instanceof CaracalError) || tried === TRIES || !(error.retryable || error.status === 401)) throw error
        await pause(error.retryAfter === undefined ? Math.random() * PAUSE_MS * 2 ** tried : error.retryAfter * 1000)
      }
    }
  }

  async #post(path: string, key: string, body: string | undefined): Promise<Response> {
    const { coordinatorUrl, zone, mandate, forget } = this.#options
    const token = await mandate()
    const response = await (this.#options.fetch ?? fetch)(`${coordinatorUrl.replace(/\/+$/, '')}/v1/zones/${zone}/sessions${path}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${token}`,
        'idempotency-key': key,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      redirect: 'manual',
      signal: AbortSignal.timeout(ATTEMPT_MS),
      ...(body === undefined ? {} : { body }),
    }).catch((cause: unknown) => {
      throw new CaracalError(`the Coordinator at ${coordinatorUrl} cannot be reached`, {
        code: 'unreachable',
        status: 0,
        cause,
        remedy: 'Check the address and that the Coordinator runs.',
      })
    })
    if (response.ok) return response
    if (response.status === 401) forget(token)
    throw await errorOf(response)
  }
}
