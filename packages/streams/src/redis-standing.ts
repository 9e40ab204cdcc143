import type { Redis } from 'ioredis'
import { STANDING } from './redis-scripts.ts'
import { refusedChange } from './store-unavailable.ts'
import type { StoreStanding } from './streams.ts'

/** Written to see whether a write is taken; gone by itself. */
const PROBE = 'caracal:write-probe'
const PROBE_MS = 10_000

/** One round trip: clock, memory, and a write that shows whether writes are taken (P-115, P-174). */
export async function standingOfRedis(redis: Redis): Promise<StoreStanding> {
  const [[seconds, micros, refused], memory, stats] = await Promise.all([
    redis.eval(STANDING, 1, PROBE, PROBE_MS) as Promise<[string, string, string]>,
    redis.info('memory'),
    redis.info('stats'),
  ])
  const error = refused === '' ? undefined : new Error(refused)
  const refuses = refusedChange(error) ?? null
  if (error !== undefined && refuses === null) throw error
  return { at: Number(seconds) * 1000 + Math.floor(Number(micros) / 1000), refuses, ...memoryOf(memory, stats) }
}

/** What Redis itself holds against `maxmemory`: buffers of replicas and of the append-only file do not count. */
function memoryOf(memory: string, stats: string): Pick<StoreStanding, 'usedRatio' | 'memory'> {
  const field = (text: string, name: string) => new RegExp(`^${name}:(\\S+)`, 'm').exec(text)?.[1] ?? ''
  const number = (text: string, name: string) => Number(field(text, name) || 0)
  const limitBytes = number(memory, 'maxmemory')
  const usedBytes = Math.max(0, number(memory, 'used_memory') - number(memory, 'mem_not_counted_for_evict'))
  const noEviction = field(memory, 'maxmemory_policy') === 'noeviction'
  return {
    usedRatio: limitBytes === 0 ? null : usedBytes / limitBytes,
    memory: { usedBytes, limitBytes, evictedKeys: number(stats, 'evicted_keys'), noEviction },
  }
}
