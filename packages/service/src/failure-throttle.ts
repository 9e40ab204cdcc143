import type { Clock, Seconds } from '@caracal/core'

/** Slows down whoever keeps failing. It is only ever asked after a credential turned out wrong: a right one always passes (P-010). */
export type FailureThrottle = {
  /** Notes a failure of this source; seconds it has to wait now, 0 while it is within its allowance. */
  failed(source: string): Seconds
  /** Whether a wrong credential from this source would be answered with 429. */
  waits(source: string): Seconds
}

/**
 * Failures per source in a leaking bucket: `allowance` at once, then one per `leak` seconds. At most `capacity` sources are
 * remembered; beyond that those that failed longest ago go.
 */
export function createFailureThrottle(options: {
  readonly allowance?: number
  readonly leak?: Seconds
  readonly capacity?: number
  readonly now?: Clock
}): FailureThrottle {
  const allowance = options.allowance ?? 20
  const leak = options.leak ?? 3
  const capacity = options.capacity ?? 100_000
  const now = options.now ?? Date.now
  const failures = new Map<string, { level: number; at: number }>()

  const level = (source: string, at: number): number => {
    const held = failures.get(source)
    return held === undefined ? 0 : Math.max(0, held.level - Math.max(0, at - held.at) / 1000 / leak)
  }
  const wait = (filled: number): Seconds => (filled <= allowance ? 0 : Math.ceil((filled - allowance) * leak))

  return {
    failed(source) {
      const at = now()
      // Capped: a flood must not lock its source out for hours, somebody else may sit behind the same address.
      const filled = Math.min(level(source, at) + 1, allowance + 10)
      failures.delete(source)
      failures.set(source, { level: filled, at })
      if (failures.size > capacity) {
        const [oldest] = failures.keys()
        if (oldest !== undefined) failures.delete(oldest)
      }
      return wait(filled)
    },
    waits: (source) => wait(level(source, now())),
  }
}
