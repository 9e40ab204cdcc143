import { type Database, type Job, runJob } from '@caracal/postgres'
import type { StopHook } from './graceful-stop.ts'
import type { Logger } from './logger.ts'
import type { Metrics } from './metrics.ts'
import { type WatchedTask, watchTasks } from './watch-tasks.ts'

/** A job and, where its rounds do not say it well, after how long without a good end it is overdue. Milliseconds. */
export type StartedJob = Job & Pick<WatchedTask, 'overdueMs'>

/**
 * Takes part in these jobs: one of all replicas does each (`runJob`). Every replica says for how long each has not ended well and
 * whether that is too long; how long runs took and which failed is counted where they ran. Once per registry.
 */
export function startJobs(
  jobs: readonly StartedJob[],
  options: {
    readonly database: Database
    readonly metrics: Metrics
    readonly logger: Logger
    /** Of a lease, milliseconds. */
    readonly leaseMs?: number
    /** Rounds of this replica itself that are watched beside the jobs. */
    readonly watched?: Readonly<Record<string, WatchedTask>>
  },
): StopHook {
  const { metrics } = options
  const seconds = metrics.histogram('caracal_task_seconds', 'Time of a run that ended well, on this replica.', ['task'])
  const failures = metrics.counter('caracal_task_failures_total', 'Runs that failed on this replica.', ['task'])
  const running = jobs.map((job) => {
    seconds.zero({ task: job.name })
    failures.inc({ task: job.name }, 0)
    const onRun = (run: { readonly ok: boolean; readonly ms: number }) => {
      if (run.ok) seconds.observe({ task: job.name }, run.ms / 1_000)
      else failures.inc({ task: job.name })
    }
    return { job, running: runJob(job, { ...options, onRun }) }
  })
  watchTasks(metrics, {
    ...options.watched,
    ...Object.fromEntries(running.map(({ job, running }) => [job.name, { ...job, endedAgoMs: running.endedAgoMs } satisfies WatchedTask])),
  })
  return {
    name: 'jobs',
    stop: async () => {
      await Promise.all(running.map(({ running }) => running.stop()))
    },
  }
}
