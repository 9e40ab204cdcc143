import type { KeyRing } from '@caracal/core'
import type { Redis } from 'ioredis'
import { readBroadcast } from './broadcast-reader.ts'
import { startHeartbeat } from './heartbeat.ts'
import { sealMessage } from './message-authentication.ts'
import { beatInRedis, publishToRedis, readFromRedis, tipInRedis } from './redis-broadcast.ts'
import { redisClaims } from './redis-claims.ts'
import { canLogIn, connectRedis, loginOf, sameRedis, useLogin } from './redis-connection.ts'
import { redisQuarantine } from './redis-quarantine.ts'
import { RELEASE } from './redis-scripts.ts'
import { standingOfRedis } from './redis-standing.ts'
import { appendToRedis, healthInRedis, RedisWorkSource } from './redis-work.ts'
import { fromStore } from './store-unavailable.ts'
import type { StreamLogger } from './stream-logger.ts'
import type { Streams, Subscription } from './streams.ts'
import { readWork, type WorkTiming } from './work-reader.ts'

export type RedisStreamsOptions = {
  /** `redis://` or `rediss://`. */
  readonly url: string
  readonly keys: KeyRing
  readonly logger: StreamLogger
  readonly timing: WorkTiming
  /** `ping` fails on a Redis that may evict keys: it would drop evidence and revocations (P-115). */
  readonly requireNoEviction: boolean
}

/**
 * Redis Streams, Redis 7 or later. One connection for commands, one more for each subscription and consumer. Connects by
 * itself and again; a call while Redis is away rejects with `StoreUnavailable`.
 */
export function openRedisStreams(options: RedisStreamsOptions): Streams {
  const { keys, logger, timing } = options
  let { url } = options
  const redis = connectRedis(url, 'commands', logger)
  const blockings = new Set<Redis>()
  const claim = redisClaims(redis)
  const running = new Set<Subscription>()

  function connectBlocking(): Redis {
    const blocking = connectRedis(url, 'blocking', logger)
    blockings.add(blocking)
    blocking.once('end', () => blockings.delete(blocking))
    return blocking
  }

  function owned(subscription: Subscription): Subscription {
    const own = {
      stop: async () => {
        running.delete(own)
        await subscription.stop()
      },
    }
    running.add(own)
    return own
  }

  return {
    driver: 'redis',
    publish: (stream, payload) =>
      fromStore(() => publishToRedis(redis, stream, payload, sealMessage(keys, { stream, kind: 'message', partition: '', payload }))),
    tip: (stream) => fromStore(() => tipInRedis(redis, stream)),
    subscribe: async (stream, from, subscriber) => {
      const blocking = connectBlocking()
      return owned(
        readBroadcast({
          stream,
          from,
          subscriber,
          keys,
          logger,
          read: (position, signal) => readFromRedis({ blocking, redis }, stream, position, signal),
          interrupt: () => blocking.disconnect(),
        }),
      )
    },
    heartbeat: (stream) =>
      owned(startHeartbeat({ stream, keys, logger, beat: (payload, seal) => beatInRedis(redis, stream, payload, seal) })),
    append: (stream, messages) =>
      fromStore(() =>
        appendToRedis(
          redis,
          stream,
          messages.map((message) => ({ ...message, seal: sealMessage(keys, { stream, kind: 'work', ...message }) })),
        ),
      ),
    consume: async (stream, consumer) => {
      const blocking = connectBlocking()
      const source = new RedisWorkSource({ redis, blocking, stream, group: consumer.group, consumer: consumer.consumer, timing })
      const reading = readWork({ stream, source, consumer, keys, logger, timing })
      return owned({
        stop: async () => {
          await reading.stop()
          await source.leave().catch(() => {}) // then it is reclaimed when it is idle for long enough
        },
      })
    },
    health: (stream) => fromStore(() => healthInRedis(redis, stream)),
    quarantine: redisQuarantine(redis),
    claim: (key, owner, ttl) => fromStore(() => claim(claimKey(key), owner, ttl)),
    release: async (key, owner) => {
      await fromStore(() => redis.eval(RELEASE, 1, claimKey(key), owner))
    },
    relogin: async (next) => {
      if (!sameRedis(options.url, next)) throw new Error('only the user and the password can change while it runs')
      await canLogIn(next)
      url = next
      for (const one of [redis, ...blockings]) useLogin(one, loginOf(next))
    },
    ping: () => fromStore(() => ping(redis, options.requireNoEviction)),
    standing: () => fromStore(() => standingOfRedis(redis)),
    close: async () => {
      await Promise.all([...running].map((subscription) => subscription.stop()))
      redis.disconnect()
    },
  }
}

function claimKey(key: string): string {
  return `caracal:claim:${key}`
}

async function ping(redis: Redis, requireNoEviction: boolean): Promise<void> {
  await redis.ping()
  if (!requireNoEviction) return
  const policy = /^maxmemory_policy:(\S+)/m.exec(await redis.info('memory'))?.[1]
  if (policy !== 'noeviction') throw new Error(`the eviction policy of Redis must be noeviction; it is ${policy ?? 'unknown'}`)
}
