import type { StreamName } from '@caracal/core'
import type { Database } from '@caracal/postgres'
import { backoff, pause } from './pause.ts'
import type { StreamLogger } from './stream-logger.ts'

/** Whoever adds to a stream says its name here. */
export const WAKE_CHANNEL = 'caracal_streams'

/** Waiting for the news of one stream: notified, or after a while to look without having been told. */
export type Wake = {
  /** How often the stream was notified: take it before looking, and no notification in between is missed. */
  count(stream: StreamName): number
  /** Resolves once the stream was notified more often than that, after `ms` at the latest, or when the signal is aborted. */
  until(stream: StreamName, count: number, ms: number, signal: AbortSignal): Promise<void>
  stop(): Promise<void>
}

/**
 * LISTEN for all streams of this process. Notifications only save time: where none can be had, everybody looks when the
 * time is over.
 */
export function listenForStreams(database: Database, logger: StreamLogger): Wake {
  const stopping = new AbortController()
  const waiting = new Map<StreamName, Set<() => void>>()
  let unlisten: (() => Promise<void>) | undefined

  const counts = new Map<string, number>()

  function wake(stream: string): void {
    counts.set(stream, (counts.get(stream) ?? 0) + 1)
    for (const resume of waiting.get(stream as StreamName) ?? []) resume()
  }

  async function listen(): Promise<void> {
    for (let attempt = 0; !stopping.signal.aborted; attempt += 1) {
      try {
        unlisten = await database.listen(WAKE_CHANNEL, wake, () => {
          for (const stream of waiting.keys()) wake(stream)
        })
        return
      } catch (error) {
        if (attempt === 0) logger.warn({ err: error }, 'notifications of Postgres cannot be had; streams are read each second')
        await pause(backoff(attempt, 200, 5_000), stopping.signal)
      }
    }
  }

  const listening = listen()
  return {
    count: (stream) => counts.get(stream) ?? 0,
    until: (stream, count, ms, signal) =>
      new Promise((resolve) => {
        if (signal.aborted || (counts.get(stream) ?? 0) > count) return resolve()
        const resumers = waiting.get(stream) ?? new Set()
        waiting.set(stream, resumers)
        const done = () => {
          clearTimeout(timer)
          resumers.delete(done)
          signal.removeEventListener('abort', done)
          resolve()
        }
        const timer = setTimeout(done, ms).unref()
        resumers.add(done)
        signal.addEventListener('abort', done)
      }),
    stop: async () => {
      stopping.abort()
      await listening
      await unlisten?.().catch(() => {})
    },
  }
}
