import { type Database, openDatabase } from '@caracal/postgres'
import type { Logger, StopHook } from '@caracal/service'
import { openStreams, type Streams } from '@caracal/streams'
import type { AuditConfiguration } from './configuration.ts'

type OnStop = (name: string, stop: StopHook['stop']) => void

/** Postgres of the configuration, closed when the service stops. */
export async function ownDatabase(config: AuditConfiguration, logger: Logger, onStop: OnStop): Promise<Database> {
  if (config.DATABASE_URL === undefined) throw new Error('DATABASE_URL is required')
  const database = await openDatabase({ url: config.DATABASE_URL, pool: config.DATABASE_POOL, application: 'caracal-audit' }, { logger })
  onStop('database', () => database.close())
  return database
}

/** Streams of the configuration, closed when the service stops. */
export function ownStreams(config: AuditConfiguration, database: Database, logger: Logger, onStop: OnStop): Streams {
  const common = { keys: config.STREAMS_HMAC_KEY, logger }
  if (config.STREAMS_DRIVER === 'redis' && config.REDIS_URL === undefined)
    throw new Error('REDIS_URL is required with STREAMS_DRIVER=redis')
  const streams =
    config.STREAMS_DRIVER === 'redis' && config.REDIS_URL !== undefined
      ? openStreams({ ...common, driver: 'redis', url: config.REDIS_URL, requireNoEviction: config.CARACAL_MODE === 'stable' })
      : openStreams({ ...common, driver: 'postgres', database })
  onStop('streams', () => streams.close())
  return streams
}
