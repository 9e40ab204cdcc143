import { Redis } from 'ioredis'
import type { StreamLogger } from './stream-logger.ts'

const COMMAND_LIMIT_MS = 5_000
/** How long a blocking read waits at the server. */
export const BLOCK_MS = 1_000

export type Login = { readonly username: string | undefined; readonly password: string | undefined }

/** The user and password of a `redis://` URL. */
export function loginOf(url: string): Login {
  const { username, password } = new URL(url)
  return { username: decodeURIComponent(username) || undefined, password: decodeURIComponent(password) || undefined }
}

/** Whether two URLs differ in nothing but user and password. */
export function sameRedis(one: string, other: string): boolean {
  const bare = (text: string) => {
    const url = new URL(text)
    url.username = ''
    url.password = ''
    return url.href
  }
  return bare(one) === bare(other)
}

/** Rejects with the server's own words when nobody is let in with this URL. */
export async function canLogIn(url: string): Promise<void> {
  await withRedis(url, async (redis, refused) => {
    await redis.ping()
    const refusal = refused()
    if (refusal !== undefined) throw refusal
  })
}

/**
 * Works with a connection of its own that is tried once and closed afterwards. Rejects with what the server said on the connection, if
 * it said something, else with what went wrong. `refused`: what it said so far.
 */
export async function withRedis<T>(url: string, work: (redis: Redis, refused: () => Error | undefined) => Promise<T>): Promise<T> {
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: COMMAND_LIMIT_MS,
    commandTimeout: COMMAND_LIMIT_MS,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    enableReadyCheck: false,
  })
  let refused: Error | undefined
  redis.on('error', (error) => {
    refused = error
  })
  try {
    await redis.connect()
    return await work(redis, () => refused)
  } catch (error) {
    throw refused ?? error
  } finally {
    redis.disconnect()
  }
}

/** The login of the next connection that this one makes; the socket that is open stays. */
export function useLogin(redis: Redis, { username, password }: Login): void {
  Object.assign(redis.options, { username, password })
}

/**
 * A connection that reconnects by itself, at most half a second apart (P-175), and never ends the process.
 * `commands`: a call fails after one attempt to reconnect. `blocking`: a call fails as soon as the connection breaks, and
 * the socket counts as dead when it is silent for longer than a read can block.
 */
export function connectRedis(url: string, use: 'commands' | 'blocking', logger: StreamLogger): Redis {
  const redis = new Redis(url, {
    connectTimeout: COMMAND_LIMIT_MS,
    retryStrategy: (attempt) => Math.min(attempt * 50, 500),
    // A replica that was the primary until now: go and find the new one, and say it again there.
    reconnectOnError: (error) => (error.message.startsWith('READONLY') ? 2 : false),
    ...(use === 'commands'
      ? { maxRetriesPerRequest: 1, commandTimeout: COMMAND_LIMIT_MS }
      : { maxRetriesPerRequest: 0, socketTimeout: BLOCK_MS + COMMAND_LIMIT_MS }),
  })
  let silent = false
  redis.on('error', (error) => {
    if (!silent) logger.warn({ err: error }, 'the connection to Redis is broken; reconnecting')
    silent = true
  })
  redis.on('ready', () => {
    if (silent) logger.info({}, 'the connection to Redis is back')
    silent = false
  })
  return redis
}
