import type { KeyRing } from '@caracal/core'
import type { Database } from '@caracal/postgres'
import { openPostgresStreams } from './postgres-streams.ts'
import { openRedisStreams } from './redis-streams.ts'
import type { StreamLogger } from './stream-logger.ts'
import type { Streams } from './streams.ts'
import { WORK_TIMING, type WorkTiming } from './work-reader.ts'

export type OpenStreams = {
  /** The ring of `STREAMS_HMAC_KEY`. */
  readonly keys: KeyRing
  readonly logger: StreamLogger
  readonly timing?: Partial<WorkTiming>
} & (
  | { readonly driver: 'redis'; readonly url: string; readonly requireNoEviction?: boolean }
  | { readonly driver: 'postgres'; readonly database: Database }
)

/** Opens the streams. A store that is away is no error here: calls say so, and subscriptions begin when it is back. */
export function openStreams(options: OpenStreams): Streams {
  const { keys, logger } = options
  const timing = { ...WORK_TIMING, ...options.timing }
  return options.driver === 'redis'
    ? openRedisStreams({ url: options.url, keys, logger, timing, requireNoEviction: options.requireNoEviction ?? false })
    : openPostgresStreams({ database: options.database, keys, logger, timing })
}
