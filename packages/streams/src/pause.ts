import { setTimeout as sleep } from 'node:timers/promises'

/** Exponential, jittered (half to full), for the `attempt`-th failure in a row, counted from 0. Milliseconds. */
export function backoff(attempt: number, firstMs: number, mostMs: number): number {
  return Math.min(firstMs * 2 ** Math.min(attempt, 30), mostMs) * (0.5 + Math.random() / 2)
}

/** Resolves after `ms`, or at once when the signal is aborted. Never throws, keeps no process alive. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await sleep(ms, undefined, { signal, ref: false }).catch(() => {})
}

/**
 * What is read, or a rejection as soon as the signal is aborted: a command that waits for a connection to come back may otherwise
 * never end once the connection was given up.
 */
export async function unlessAborted<T>(reading: Promise<T>, signal: AbortSignal): Promise<T> {
  let stop = () => {}
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(new Error('reading was stopped'))
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
  try {
    return await Promise.race([reading, aborted])
  } finally {
    signal.removeEventListener('abort', stop)
    reading.catch(() => {})
  }
}
