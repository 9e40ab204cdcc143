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
