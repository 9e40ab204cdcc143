import { randomBytes } from 'node:crypto'
import type { UnixMillis } from '@caracal/core'
import type { Redis } from 'ioredis'
import { withRedis } from './redis-connection.ts'

/** What a Redis says of itself and of who asks. */
export type RedisFacts = {
  readonly version: string
  /** A stream with a group can be made, read and removed under the prefix that Caracal uses. */
  readonly streams: boolean
  /** `noeviction`, `allkeys-lru`, … */
  readonly evictionPolicy: string
  /** Bytes; 0 = no limit. */
  readonly memoryLimit: number
  readonly appendOnly: boolean
  /** Whoever gives no password is let in too. */
  readonly open: boolean
  /** Its clock. */
  readonly at: UnixMillis
}

/** Logs in with the URL, asks, tries a stream of its own and removes it. Throws what the driver throws. */
export async function examineRedis(url: string): Promise<RedisFacts> {
  const [facts, open] = await Promise.all([withRedis(url, askAll), letsAnyoneIn(url)])
  return { ...facts, open }
}

async function askAll(redis: Redis): Promise<Omit<RedisFacts, 'open'>> {
  const [info, [seconds, micros]] = await Promise.all([redis.info(), redis.time()])
  const field = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? ''
  return {
    version: field('redis_version'),
    streams: await takesStreams(redis),
    evictionPolicy: field('maxmemory_policy'),
    memoryLimit: Number(field('maxmemory') || 0),
    appendOnly: field('aof_enabled') === '1',
    at: Number(seconds) * 1000 + Math.floor(Number(micros) / 1000),
  }
}

async function takesStreams(redis: Redis): Promise<boolean> {
  const key = `caracal:preflight:${randomBytes(8).toString('hex')}`
  try {
    await redis.xgroup('CREATE', key, 'preflight', '$', 'MKSTREAM')
    await redis.xadd(key, '*', 'p', '1')
    const read = await redis.xreadgroup('GROUP', 'preflight', 'preflight', 'COUNT', 1, 'STREAMS', key, '>')
    return Array.isArray(read) && read.length === 1
  } catch {
    return false
  } finally {
    await redis.del(key).catch(() => undefined)
  }
}

async function letsAnyoneIn(url: string): Promise<boolean> {
  const anonymous = new URL(url)
  if (anonymous.password === '') return true
  anonymous.username = ''
  anonymous.password = ''
  try {
    return await withRedis(anonymous.href, async (redis) => (await redis.ping()) === 'PONG')
  } catch {
    return false
  }
}
