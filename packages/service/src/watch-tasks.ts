import type { Metrics } from './metrics.ts'

/** So many rounds may be missed, and so long may anything take. */
const ROUNDS = 3
const LEAST_MS = 60_000

/** Work that comes again and again. `endedAgoMs`, where it keeps that itself: since it last ended well; null before the first time. */
export type WatchedTask = { readonly everyMs: number; readonly endedAgoMs?: () => number | null }

/**
 * `caracal_task_overdue{task}`: 1 when a task has not ended well for three of its rounds, and at least a minute. Returns what a task
 * calls when it did.
 */
export function watchTasks<const T extends string>(
  metrics: Metrics,
  tasks: Readonly<Record<T, WatchedTask>>,
  monotonic: () => number = () => performance.now(),
): (task: T) => void {
  const begun = monotonic()
  const ended = new Map<string, number>()
  metrics.gauge('caracal_task_overdue', '1 when a task has not ended well for three of its rounds.', ['task'], (own) => {
    for (const [task, { everyMs, endedAgoMs }] of Object.entries<WatchedTask>(tasks)) {
      const now = monotonic()
      const ago = endedAgoMs?.() ?? now - (ended.get(task) ?? begun)
      own.set({ task }, ago > Math.max(LEAST_MS, ROUNDS * everyMs) ? 1 : 0)
    }
  })
  return (task) => void ended.set(task, monotonic())
}
