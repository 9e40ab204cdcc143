import { randomBytes } from 'node:crypto'
import { keyRing } from '@caracal/core'
import { redisUrl } from '@caracal/harness'
import { type Database, migrateUp, openDatabase } from '@caracal/postgres'
import { openStreams, type Streams } from '@caracal/streams'
import { Redis } from 'ioredis'
import { sql } from 'kysely'

export type TestStreams = {
  readonly streams: Streams
  /** A migrated database, also where the streams are on Redis. */
  readonly database: Database
  /** Loses everything that stands in the streams, as a failover or a flush does. */
  readonly flush: () => Promise<void>
  readonly close: () => Promise<void>
}

const silent = { info: () => {}, warn: () => {}, error: () => {} }

/** Real streams, alone in their store, over either driver. */
export async function streamsForTest(driver: 'postgres' | 'redis'): Promise<TestStreams> {
  const database = await openDatabase({ memory: true })
  await migrateUp(database)
  const keys = keyRing(randomBytes(32))
  if (driver === 'postgres') {
    const streams = openStreams({ driver, database, keys, logger: silent })
    return {
      streams,
      database,
      flush: async () => {
        await sql`DELETE FROM stream_broadcasts`.execute(database.query)
        await sql`DELETE FROM stream_heads`.execute(database.query)
      },
      close: async () => {
        await streams.close()
        await database.close()
      },
    }
  }
  const url = redisUrl()
  const redis = new Redis(url)
  await redis.flushdb()
  const streams = openStreams({ driver, url, keys, logger: silent })
  return {
    streams,
    database,
    flush: async () => {
      await redis.flushdb()
    },
    close: async () => {
      await streams.close()
      redis.disconnect()
      await database.close()
    },
  }
}

/** Waits for what another turn of the event loop, or another process, brings about. */
export async function until(holds: () => boolean | Promise<boolean>, within = 8000): Promise<void> {
  const end = performance.now() + within
  while (!(await holds())) {
    if (performance.now() > end) throw new Error('it did not come about')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
