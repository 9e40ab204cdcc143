import { randomBytes } from 'node:crypto'
import { type KeyRing, keyRing, type StreamName } from '@caracal/core'
import { freshDatabaseUrl, redisUrl } from '@caracal/harness'
import { type Database, migrateUp, openDatabase } from '@caracal/postgres'
import { Redis } from 'ioredis'
import { sql } from 'kysely'
import { openStreams } from '../open-streams.ts'
import type { BroadcastSubscriber, Streams } from '../streams.ts'
import type { WorkTiming } from '../work-reader.ts'

/** What the suite needs to do to a store behind the back of its streams. */
export type Store = {
  /** Streams of another process; times are short unless said otherwise. */
  open(options?: { readonly keys?: KeyRing; readonly timing?: Partial<WorkTiming> }): Streams
  /** Everything is gone. */
  flush(): Promise<void>
  /** The first `count` messages of a broadcast stream are gone. */
  trim(stream: StreamName, count: number): Promise<void>
  /** Every payload of the stream is changed; seals are not. */
  tamper(stream: StreamName): Promise<void>
  /** A consumer of the group `audit` takes everything and, like a process that is killed, is never heard of again. */
  abandon(stream: StreamName): Promise<void>
  /** Entries that a work stream holds, acknowledged or not. */
  held(stream: StreamName): Promise<number>
  /** Breaks every connection; undefined where there are none. */
  readonly cut?: () => Promise<void>
  close(): Promise<void>
}

export const KEYS = keyRing(randomBytes(32))
export const SILENT = { info: () => {}, warn: () => {}, error: () => {} }
const QUICK = { reclaimMs: 600, retryMs: 20, tries: 8 }

async function redisStore(): Promise<Store> {
  const url = redisUrl()
  const redis = new Redis(url)
  await redis.flushdb()
  const opened: Streams[] = []
  return {
    open: ({ keys = KEYS, timing } = {}) => {
      const streams = openStreams({ driver: 'redis', url, keys, logger: SILENT, timing: { ...QUICK, ...timing } })
      opened.push(streams)
      return streams
    },
    flush: async () => {
      await redis.flushdb()
    },
    trim: async (stream, count) => {
      for (const [id] of (await redis.xrange(stream, '-', '+')).filter(([, fields]) => fields[5] === '0').slice(0, count))
        await redis.xdel(stream, id)
    },
    tamper: async (stream) => {
      const entries = await redis.xrange(stream, '-', '+')
      const last = entries.at(-1)?.[0] ?? '0-0'
      // Ids cannot be used twice: the forged entries stand in a copy that takes the place of the stream.
      for (const [id, fields] of entries) {
        const forged = fields.map((value, at) => (fields[at - 1] === 'p' ? `${value} ` : value))
        await redis.xadd('forged', id, ...forged)
      }
      if (entries.length > 0) await redis.rename('forged', stream)
      await redis.xtrim(stream, 'MINID', '0-0')
      if (last !== entries.at(-1)?.[0]) throw new Error('the forgery is not complete')
    },
    abandon: async (stream) => {
      await redis.xgroup('CREATE', stream, 'audit', '0', 'MKSTREAM')
      await redis.xreadgroup('GROUP', 'audit', 'killed', 'COUNT', 100, 'STREAMS', stream, '>')
    },
    held: (stream) => redis.xlen(stream),
    cut: async () => {
      const db = `db=${new URL(url).pathname.slice(1)} `
      const own = await redis.client('ID')
      for (const line of String(await redis.client('LIST')).split('\n')) {
        const id = /^id=(\d+) /.exec(line)?.[1]
        if (id !== undefined && line.includes(db) && Number(id) !== own) await redis.client('KILL', 'ID', id)
      }
    },
    close: async () => {
      await Promise.all(opened.map((streams) => streams.close()))
      redis.disconnect()
    },
  }
}

async function postgresStore(location: { readonly url: string } | { readonly memory: true }): Promise<Store> {
  const database: Database = await openDatabase(location)
  await migrateUp(database)
  const opened: { readonly streams: Streams; readonly database: Database }[] = []
  const run = async (statement: ReturnType<typeof sql>) => {
    await statement.execute(database.query)
  }
  return {
    open: ({ keys = KEYS, timing } = {}) => {
      const streams = openStreams({ driver: 'postgres', database, keys, logger: SILENT, timing: { ...QUICK, ...timing } })
      opened.push({ streams, database })
      return streams
    },
    flush: () => run(sql`TRUNCATE stream_heads, stream_broadcasts, stream_work, stream_quarantine, stream_claims`),
    trim: (stream, count) =>
      run(sql`DELETE FROM stream_broadcasts WHERE stream = ${stream} AND seq IN
        (SELECT seq FROM stream_broadcasts WHERE stream = ${stream} ORDER BY seq LIMIT ${count})`),
    tamper: async (stream) => {
      await run(sql`UPDATE stream_broadcasts SET payload = payload || ' ' WHERE stream = ${stream}`)
      await run(sql`UPDATE stream_work SET payload = payload || ' ' WHERE stream = ${stream}`)
    },
    abandon: (stream) =>
      run(sql`UPDATE stream_work SET deliveries = 1, consumer = 'killed', available_at = now() + ${QUICK.reclaimMs} * interval '1 millisecond'
        WHERE stream = ${stream}`),
    held: async (stream) => {
      const { rows } = await sql<{ n: number }>`SELECT count(*) AS n FROM stream_work WHERE stream = ${stream}`.execute(database.query)
      return rows[0]?.n ?? 0
    },
    ...('url' in location
      ? {
          cut: () =>
            run(sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`),
        }
      : {}),
    close: async () => {
      await Promise.all(opened.map(({ streams }) => streams.close()))
      await database.close()
    },
  }
}

/** For tests in which the driver does not matter. */
export function embeddedStore(): Promise<Store> {
  return postgresStore({ memory: true })
}

/** Every driver on every store it runs on. */
export const STORES: readonly (readonly [string, () => Promise<Store>])[] = [
  ['Redis', redisStore],
  ['Postgres', async () => postgresStore({ url: await freshDatabaseUrl() })],
  ['embedded Postgres', embeddedStore],
]

/** A subscriber that remembers everything. */
export function recorder(): BroadcastSubscriber & {
  readonly seen: string[]
  readonly positions: string[]
  readonly gaps: string[]
  alive: () => number
} {
  const seen: string[] = []
  const positions: string[] = []
  const gaps: string[] = []
  let alive = 0
  return {
    seen,
    positions,
    gaps,
    alive: () => alive,
    onMessage: ({ payload, position }) => {
      seen.push(payload)
      positions.push(position)
    },
    onGap: (reason) => {
      gaps.push(reason)
    },
    onAlive: () => {
      alive += 1
    },
  }
}
