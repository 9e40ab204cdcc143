import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Database, DatabaseLogger, Queryable } from './database.ts'
import { beginJob, demandJob, endJob, type JobLease, JobLost, releaseJob, renewJob, takeJob } from './jobs.ts'

/** Milliseconds. */
const LEASE_MS = 15_000

/** What a job is given for one step. */
export type JobHold = {
  /** The last statement of each transaction in which the step changes something: rejects when the job is somebody else's by now. */
  readonly demand: (tx: Queryable) => Promise<void>
}

/** Work that one replica does for all. It must bear being cut off anywhere and begun again by another. */
export type Job = {
  readonly name: string
  /** From the end of a run to the next. Milliseconds. */
  readonly everyMs: number
  /** Does a part; true: there may be more, and the next part follows at once. */
  readonly step: (hold: JobHold) => Promise<boolean>
}

/** A run that has ended. `ms` is how long it took. */
export type JobRun = { readonly ok: boolean; readonly ms: number }

export type RunningJob = {
  /** Since any replica's run last ended well, as far as known here; null before the first look. Milliseconds. */
  endedAgoMs(): number | null
  /** Ends after the step in hand, and gives the job back. */
  stop(): Promise<void>
}

/**
 * Has the job done by one of all the processes that call this. It is run at once by whoever wins it, step after step until nothing is
 * left, and again after `everyMs`. When its owner dies another has it within the lease; one that froze cannot commit a step when it
 * wakes. A run that fails gives the job to whoever looks next (P-117).
 */
export function runJob(
  job: Job,
  options: {
    readonly database: Database
    readonly logger: DatabaseLogger
    /** Called for every run of this process that ended; not when the job was lost. */
    readonly onRun?: (run: JobRun) => void
    /** Milliseconds; 15 000. */
    readonly leaseMs?: number
  },
): RunningJob {
  const { database, logger, onRun = () => {}, leaseMs = LEASE_MS } = options
  const db = database.query
  const owner = `${hostname()}-${process.pid}-${randomBytes(6).toString('hex')}`
  const stopping = new AbortController()
  let endedAt: number | null = null

  const runOnce = async (lease: JobLease, signal: AbortSignal): Promise<boolean> => {
    const begun = performance.now()
    const end = async (ok: boolean) => {
      const run = { ok, ms: performance.now() - begun }
      if (ok) endedAt = performance.now()
      onRun(run)
      await endJob(db, lease, run)
    }
    try {
      await beginJob(db, lease)
      const hold: JobHold = { demand: (tx) => demandJob(tx, lease) }
      while ((await job.step(hold)) && !signal.aborted) {}
    } catch (error) {
      if (error instanceof JobLost) {
        logger.warn({ job: job.name }, 'a job was lost in the middle of a run; what was not committed is left to its new owner')
        return false
      }
      logger.warn({ err: error, job: job.name }, 'a job failed; it is tried again')
      await end(false)
      return false
    }
    await end(true)
    return true
  }

  /** Runs until the job is lost, fails or is stopped. */
  const lead = async (lease: JobLease): Promise<void> => {
    const lost = new AbortController()
    const signal = AbortSignal.any([stopping.signal, lost.signal])
    const renewal = renewing(lease, lost)
    try {
      while (!signal.aborted && (await runOnce(lease, signal))) await pause(job.everyMs, signal)
    } finally {
      await renewal.stop()
      await releaseJob(db, lease)
    }
  }

  const renewing = (lease: JobLease, lost: AbortController) => {
    const ended = new AbortController()
    const renew = async () => {
      let until = performance.now() + leaseMs
      for (;;) {
        await pause(leaseMs / 3, ended.signal)
        if (ended.signal.aborted) return
        const asked = performance.now()
        try {
          if (await renewJob(db, lease, leaseMs)) until = asked + leaseMs
          else return lost.abort()
        } catch (error) {
          logger.warn({ err: error, job: job.name }, 'the lease of a job could not be renewed')
          if (performance.now() > until) return lost.abort()
        }
      }
    }
    const running = renew()
    return {
      stop: () => {
        ended.abort()
        return running
      },
    }
  }

  const run = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      let wait = leaseMs / 3
      try {
        const { lease, leftMs, endedAgoMs } = await takeJob(db, job.name, owner, leaseMs)
        endedAt = Math.max(endedAt ?? Number.NEGATIVE_INFINITY, performance.now() - endedAgoMs)
        if (lease === undefined) wait = Math.min(wait, leftMs)
        else {
          wait = Math.min(job.everyMs, leaseMs)
          await lead(lease)
        }
      } catch (error) {
        logger.warn({ err: error, job: job.name }, 'a job could not be looked for; trying again')
      }
      await pause(wait, stopping.signal)
    }
  }

  const running = run()
  return {
    endedAgoMs: () => (endedAt === null ? null : performance.now() - endedAt),
    async stop() {
      stopping.abort()
      await running
    },
  }
}

/** Resolves after `ms`, or when the signal is aborted. Keeps no process alive. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await sleep(ms, undefined, { signal, ref: false }).catch(() => {})
}
