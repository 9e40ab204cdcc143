import { setTimeout as sleep } from 'node:timers/promises'
import type { StoreMemory, StoreStanding, Streams } from '@caracal/streams'
import type { Metrics } from './metrics.ts'
import type { Check } from './probes.ts'
import { SteadyClock } from './steady-clock.ts'

/** From here on a store's memory is said to be short (P-115). */
const SHORT = 0.75
/** An answer serves every check of one round. Milliseconds. */
const FRESH_MS = 500
/** A store that hangs is waited for this long, and so well within the patience of a check. Milliseconds. */
const PATIENCE_MS = 1_000

/** One role's look at the store behind its streams, once a second, and the clock that it keeps steady. */
export type StoreWatch = {
  readonly clock: SteadyClock
  /**
   * `streams_writes`: names `store_full` or `store_read_only`. `safety` for a role that must write to the store to decide safely
   * (single use); else `warning`. `streams_memory`: three quarters are in use. `clock`: the machine's and the store's clock agree.
   */
  checks(writes: 'safety' | 'warning'): readonly Check[]
  observe(metrics: Metrics): void
  /** `caracal_redis_*`, where the store is one; for the one role that speaks for it. */
  observeRedis(metrics: Metrics): void
}

/** The checks ask; nothing runs by itself. `clock` is the machine's unless a test says otherwise. */
export function watchStore(streams: Pick<Streams, 'standing'>, clock = new SteadyClock()): StoreWatch {
  let last: { readonly standing: StoreStanding; readonly at: number } | undefined
  let asking: Promise<StoreStanding> | undefined

  const ask = async (): Promise<StoreStanding> => {
    const asked = clock.elapsed()
    const standing = await streams.standing()
    clock.compare(standing.at, asked)
    last = { standing, at: clock.elapsed() }
    return standing
  }
  const look = (): Promise<StoreStanding> => {
    if (last !== undefined && clock.elapsed() - last.at < FRESH_MS) return Promise.resolve(last.standing)
    asking ??= ask().finally(() => {
      asking = undefined
    })
    return asking
  }
  /** A store that does not answer, or not soon, is another check's matter: here what it said last still holds. */
  const known = async (): Promise<StoreStanding | undefined> => {
    const patience = new AbortController()
    try {
      return await Promise.race([look(), sleep(PATIENCE_MS, undefined, { signal: patience.signal }).then(() => last?.standing)])
    } catch {
      return last?.standing
    } finally {
      patience.abort()
    }
  }

  return {
    clock,
    checks: (writes) => [
      {
        name: 'streams_writes',
        kind: writes,
        check: async () => {
          const refuses = (await known())?.refuses ?? null
          return refuses === null ? true : { missing: refuses }
        },
      },
      { name: 'streams_memory', kind: 'warning', check: async () => ((await known())?.usedRatio ?? 0) < SHORT },
      {
        name: 'clock',
        kind: 'dependency',
        reason: 'clock_skewed',
        check: async () => {
          await look()
          return clock.agrees !== false
        },
      },
    ],
    observe(metrics) {
      metrics.gauge('caracal_clock_skew_seconds', 'By how much this machine’s clock is ahead of the stream store’s.', [], (own) =>
        own.set(clock.skew ?? 0),
      )
      metrics.gauge('caracal_streams_store_writable', '1 when the store behind the streams takes changes.', [], (own) =>
        own.set((last?.standing.refuses ?? null) === null ? 1 : 0),
      )
      metrics.gauge(
        'caracal_streams_store_used_ratio',
        'Part of its memory limit that the stream store uses; 0 without a limit.',
        [],
        (own) => own.set(last?.standing.usedRatio ?? 0),
      )
    },
    observeRedis(metrics) {
      const gauge = (name: string, help: string, otherwise: number, value: (memory: StoreMemory) => number) => {
        metrics.gauge(name, help, [], (own) => {
          const memory = last?.standing.memory ?? null
          own.set(memory === null ? otherwise : value(memory))
        })
      }
      gauge('caracal_redis_used_bytes', 'Memory of Redis that counts against its limit.', 0, ({ usedBytes }) => usedBytes)
      gauge('caracal_redis_limit_bytes', 'Memory that Redis may use; 0 is no limit.', 0, ({ limitBytes }) => limitBytes)
      gauge(
        'caracal_redis_noeviction',
        '1 when Redis refuses writes rather than throw something away; 1 where there is none.',
        1,
        (memory) => (memory.noEviction ? 1 : 0),
      )
      metrics.counter(
        'caracal_redis_evicted_keys_total',
        'Keys that Redis threw away to make room.',
        [],
        () => last?.standing.memory?.evictedKeys ?? 0,
      )
    },
  }
}
