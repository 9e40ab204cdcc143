import type { Redis } from 'ioredis'
import { STANDING } from './redis-scripts.ts'
import { refusedChange } from './store-unavailable.ts'
import type { StoreStanding } from './streams.ts'

/** Written to see whether a write is taken; gone by itself. */
const PROBE = 'caracal:write-probe'
const PROBE_MS = 10_000

/** One round trip: clock, memory, and a write that shows whether writes are taken (P-115, P-174). */
export async function standingOfRedis(redis: Redis): Promise<StoreStanding> {
  const [[seconds, micros, refused], memory] = await Promise.all([
    redis.eval(STANDING, 1, PROBE, PROBE_MS) as Promise<[string, string, string]>,
    redis.info('memory'),
  ])
  const error = refused === '' ? undefined : new Error(refused)
  const refuses = refusedChange(error) ?? null
  if (error !== undefined && refuses === null) throw error
  return { at: Number(seconds) * 1000 + Math.floor(Number(micros) / 1000), refuses, usedRatio: usedRatio(memory) }
}

/** What Redis itself holds against `maxmemory`: buffers of replicas and of the append-only file do not count. */
function usedRatio(memory: string): number | null {
  const field = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(memory)?.[1] ?? 0)
  const limit = field('maxmemory')
  return limit === 0 ? null : Math.max(0, field('used_memory') - field('mem_not_counted_for_evict')) / limit
}
