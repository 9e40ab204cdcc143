import { Worker } from 'node:worker_threads'
import type { Check, Logger } from '@caracal/service'
import { CompanionFailed, type CompanionRole, type FromCompanion, type ToCompanion, untell } from './companion-talk.ts'

/** Roles that run in a thread of their own beside the role at the edge. */
export type Companion = {
  readonly roles: readonly CompanionRole[]
  /** Where the STS among them answers. */
  readonly sts: string
  /** Says for `/ready` whether the thread is alive. */
  readonly check: Check
  /** Resolves with the reason when the thread ends by itself, or has been silent for so long that it was ended. Never rejects. */
  readonly failed: Promise<Error>
  /** Stops the roles and the thread; idempotent. What does not end within 20 s is ended. */
  close(): Promise<void>
}

export type CompanionOptions = {
  /** The module that the thread runs. */
  readonly thread: URL
  /** What it is given: nothing but data gets across. */
  readonly data: unknown
  readonly logger: Logger
  readonly timing?: CompanionTiming
}

/** It is asked every `askMs` whether it is alive; so many questions without an answer are silence, and so many more the end. */
export type CompanionTiming = { readonly askMs: number; readonly silent: number; readonly dead: number; readonly stopMs: number }

/** Silence is the time after which revocations would be stale; the end is where a liveness probe would restart the pod. */
const TIMING: CompanionTiming = { askMs: 1_000, silent: 5, dead: 60, stopMs: 20_000 }

/**
 * Starts the thread and resolves when its roles run. Rejects with what went wrong there; then the thread is gone.
 * Questions are counted, not time: while this thread does nothing either, none is asked.
 */
export async function startCompanion({ thread, data, logger, timing = TIMING }: CompanionOptions): Promise<Companion> {
  const worker = new Worker(thread, { workerData: data, name: 'companion' })
  const say = (word: ToCompanion) => worker.postMessage(word)
  const ended = Promise.withResolvers<void>()
  const failed = Promise.withResolvers<Error>()
  const started = Promise.withResolvers<Extract<FromCompanion, { says: 'started' }>>()
  let unanswered = 0
  let runs = false
  let stopping: Promise<void> | undefined
  const fail = (error: Error) => {
    if (runs && stopping === undefined) logger.fatal({ err: error }, 'the roles beside this one ended; the process ends with them')
    runs = false
    failed.resolve(error)
    started.reject(error)
  }

  worker.on('message', (message: FromCompanion) => {
    if (message.says === 'alive') unanswered = 0
    else if (message.says === 'started') started.resolve(message)
    else fail(untell(message.why))
  })
  worker.on('error', (error) => fail(error instanceof Error ? error : new CompanionFailed(String(error))))
  worker.on('exit', (code) => {
    ended.resolve()
    fail(new CompanionFailed(`the thread ended with ${code}`))
  })

  // Starting takes as long as it takes: nobody asks meanwhile.
  const ask = () => {
    const asking = setInterval(() => {
      if (!runs) return clearInterval(asking)
      if (unanswered >= timing.dead) {
        fail(new CompanionFailed('the thread does not answer'))
        void worker.terminate()
        return
      }
      unanswered += 1
      say('ask')
    }, timing.askMs)
    asking.unref()
  }

  const stop = async () => {
    say('stop')
    const patience = Promise.withResolvers<'late'>()
    const timer = setTimeout(() => patience.resolve('late'), timing.stopMs)
    if ((await Promise.race([ended.promise, patience.promise])) === 'late') {
      logger.error({ ms: timing.stopMs }, 'the roles beside this one did not stop in time and were ended')
      await worker.terminate()
    }
    clearTimeout(timer)
  }

  try {
    const { roles, sts } = await started.promise
    runs = true
    ask()
    return {
      roles,
      sts,
      check: { name: 'companion', kind: 'safety', reason: 'companion_silent', check: () => unanswered <= timing.silent },
      failed: failed.promise,
      close() {
        stopping ??= stop()
        return stopping
      },
    }
  } catch (error) {
    await worker.terminate()
    throw error
  }
}
