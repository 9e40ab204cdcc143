import type { WorkStream } from '@caracal/core'
import type { Redis } from 'ioredis'
import { named } from './redis-reply.ts'
import { REDRIVE } from './redis-scripts.ts'
import type { Quarantined, Streams } from './streams.ts'

/** Where what was set aside stands; the braces put it in the slot of its stream. */
export function quarantineKey(stream: WorkStream): string {
  return `{${stream}}:quarantine`
}

/** List, redrive and discard by id (P-113). */
export function redisQuarantine(redis: Redis): Streams['quarantine'] {
  return {
    list: async (stream, limit) => {
      const entries = await redis.xrange(quarantineKey(stream), '-', '+', 'COUNT', limit)
      return entries.map(([id, fields]): Quarantined => {
        const { t: partition = '', p: payload = '', r: reason = '' } = named(fields)
        return { id, stream, partition, payload, reason, at: Number(id.split('-')[0]) }
      })
    },
    redrive: async (stream, id) => isEntryId(id) && (await redis.eval(REDRIVE, 2, stream, quarantineKey(stream), id)) === 1,
    discard: async (stream, id) => isEntryId(id) && (await redis.xdel(quarantineKey(stream), id)) === 1,
  }
}

/** Ids come from callers: what is none would be an error of Redis. */
function isEntryId(id: string): boolean {
  return /^\d{1,15}-\d{1,15}$/.test(id)
}
