import { Redis } from 'ioredis'
import type { StreamLogger } from './stream-logger.ts'

const COMMAND_LIMIT_MS = 5_000
/** How long a blocking read waits at the server. */
export const BLOCK_MS = 1_000

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
