import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { DatabaseLogger } from './database.ts'
import { inOwnContext } from './transaction-scope.ts'

type Subscriber = { readonly onNotify: (payload: string) => void; readonly onReconnect: () => void }

const KEEPALIVE_MS = 15_000
const ANSWER_MS = 5_000
const BACKOFF_MS = { first: 100, most: 5_000 }

/**
 * LISTEN over one dedicated connection for every channel of a process. When the connection breaks, or a keepalive is not
 * answered, it reconnects with jittered backoff, listens to everything again and tells every subscriber (P-137).
 */
export class Listener {
  #settings: pg.ClientConfig
  readonly #logger: DatabaseLogger
  readonly #channels = new Map<string, Set<Subscriber>>()
  #client: pg.Client | undefined
  /** The connection being made, shared by everybody who needs it. */
  #connecting: Promise<pg.Client> | undefined
  #keepalive: NodeJS.Timeout | undefined
  readonly #last = new WeakMap<pg.Client, Promise<void>>()
  readonly #closed = new AbortController()

  constructor(settings: pg.ClientConfig, logger: DatabaseLogger) {
    this.#settings = settings
    this.#logger = logger
  }

  /** Resolves when the channel is listened to; rejects when there is no connection now. Stops with the returned function. */
  async listen(channel: string, onNotify: (payload: string) => void, onReconnect: () => void): Promise<() => Promise<void>> {
    const subscriber = { onNotify: inOwnContext(onNotify), onReconnect: inOwnContext(onReconnect) }
    const client = await this.#connected()
    const known = this.#channels.get(channel)
    if (known) known.add(subscriber)
    else this.#channels.set(channel, new Set([subscriber]))
    try {
      // Also for a known channel: its first LISTEN may still be on its way.
      await this.#ask(client, `LISTEN ${pg.escapeIdentifier(channel)}`)
    } catch (error) {
      await this.#forget(channel, subscriber)
      throw error
    }
    return () => this.#forget(channel, subscriber)
  }

  /** Connects again with these settings, as after a break: subscribers are told. */
  relogin(settings: pg.ClientConfig): void {
    this.#settings = settings
    if (this.#client !== undefined) this.#again(this.#client)
  }

  async close(): Promise<void> {
    this.#closed.abort()
    clearInterval(this.#keepalive)
    this.#channels.clear()
    const client = this.#client
    this.#client = undefined
    await client?.end().catch(() => {})
  }

  async #forget(channel: string, subscriber: Subscriber): Promise<void> {
    const subscribers = this.#channels.get(channel)
    if (!subscribers?.delete(subscriber) || subscribers.size > 0) return
    this.#channels.delete(channel)
    if (this.#client === undefined) return
    await this.#ask(this.#client, `UNLISTEN ${pg.escapeIdentifier(channel)}`).catch(() => {}) // a broken connection listens to nothing
  }

  /** One statement at a time on each connection: the driver no longer queues them. */
  #ask(client: pg.Client, statement: string): Promise<void> {
    const asked = (this.#last.get(client) ?? Promise.resolve()).then(async () => void (await client.query(statement)))
    this.#last.set(
      client,
      asked.catch(() => {}),
    )
    return asked
  }

  #connected(): Promise<pg.Client> {
    if (this.#closed.signal.aborted) return Promise.reject(new Error('the database is closed'))
    if (this.#client) return Promise.resolve(this.#client)
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined
    })
    return this.#connecting
  }

  async #connect(): Promise<pg.Client> {
    const client = new pg.Client(this.#settings)
    const broken = (error?: Error) => this.#broken(client, error)
    client.on('error', broken)
    client.on('end', () => broken())
    client.on('notification', ({ channel, payload }) => {
      for (const subscriber of this.#channels.get(channel) ?? []) subscriber.onNotify(payload ?? '')
    })
    try {
      await client.connect()
      for (const channel of this.#channels.keys()) await this.#ask(client, `LISTEN ${pg.escapeIdentifier(channel)}`)
      if (this.#closed.signal.aborted) throw new Error('the database is closed')
    } catch (error) {
      void client.end().catch(() => {})
      throw error
    }
    this.#client = client
    clearInterval(this.#keepalive)
    this.#keepalive = setInterval(() => void this.#checkAlive(client), KEEPALIVE_MS).unref()
    return client
  }

  /** A connection that was cut without a word never reports an error by itself. */
  async #checkAlive(client: pg.Client): Promise<void> {
    const late = AbortSignal.timeout(ANSWER_MS)
    const silent = new Promise<never>((_, reject) => {
      late.addEventListener('abort', () => reject(new Error('the notification connection does not answer')))
    })
    try {
      await Promise.race([this.#ask(client, 'SELECT 1'), silent])
    } catch (error) {
      this.#broken(client, error instanceof Error ? error : undefined)
    }
  }

  #broken(client: pg.Client, error: Error | undefined): void {
    if (this.#client !== client || this.#closed.signal.aborted) return
    this.#logger.warn({ err: error }, 'the notification connection broke; reconnecting')
    this.#again(client)
  }

  #again(client: pg.Client): void {
    this.#client = undefined
    clearInterval(this.#keepalive)
    void client.end().catch(() => {})
    void this.#reconnect()
  }

  async #reconnect(): Promise<void> {
    for (let pause = BACKOFF_MS.first; !this.#closed.signal.aborted; pause = Math.min(pause * 2, BACKOFF_MS.most)) {
      try {
        await sleep(pause * (0.5 + Math.random()), undefined, { signal: this.#closed.signal })
        await this.#connected()
        break
      } catch (error) {
        if (this.#closed.signal.aborted) return
        this.#logger.warn({ err: error }, 'the notification connection cannot be made')
      }
    }
    for (const subscribers of this.#channels.values()) for (const subscriber of subscribers) subscriber.onReconnect()
  }
}
