import type { Metrics } from './metrics.ts'

/** So many rounds may be missed, and so long may anything take. */
const ROUNDS = 3
const LEAST_MS = 60_000

/** Work that comes again and again. `endedAgoMs`, where it keeps that itself: since it last ended well; null before the first time. */
export type WatchedTask = {
  readonly everyMs: number
  readonly endedAgoMs?: () => number | null
  /** After this long it is overdue, whatever its rounds. */
  readonly overdueMs?: number
}

/**
 * `caracal_task_overdue{task}`: 1 when a task has not ended well for three of its rounds, and at least a minute.
 * `caracal_task_last_success_seconds{task}`: since it did, or since this was first asked. Returns what a task calls when it did.
 */
export function watchTasks<const T extends string>(
  metrics: Metrics,
  tasks: Readonly<Record<T, WatchedTask>>,
  monotonic: () => number = () => performance.now(),
): (task: T) => void {
  const begun = monotonic()
  const ended = new Map<string, number>()
  const ago = (task: string, { endedAgoMs }: WatchedTask) => endedAgoMs?.() ?? monotonic() - (ended.get(task) ?? begun)
  const all = Object.entries<WatchedTask>(tasks)
  metrics.gauge('caracal_task_overdue', '1 when a task has not ended well for three of its rounds.', ['task'], (own) => {
    for (const [task, watched] of all) {
      const most = watched.overdueMs ?? Math.max(LEAST_MS, ROUNDS * watched.everyMs)
      own.set({ task }, ago(task, watched) > most ? 1 : 0)
    }
  })
  metrics.gauge('caracal_task_last_success_seconds', 'How long ago a task ended well, on any replica.', ['task'], (own) => {
    for (const [task, watched] of all) own.set({ task }, ago(task, watched) / 1_000)
  })
  return (task) => void ended.set(task, monotonic())
}
