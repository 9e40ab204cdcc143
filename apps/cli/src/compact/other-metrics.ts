import type { OtherMetrics } from '@caracal/service'
import type { CompanionRole } from './companion-talk.ts'

/** Longest wait for one role: half of what a scrape may take by default. Milliseconds. */
const PATIENCE_MS = 5_000

/** What the roles on loopback would answer a scrape with, for the role at the edge; one that does not answer is left out. */
export function metricsOf(roles: readonly CompanionRole[]): OtherMetrics {
  return async () => {
    const texts = await Promise.all(
      roles.map(async ({ name, metrics }, at) => {
        if (metrics === null) return []
        const answer = await fetch(`${metrics}/metrics`, { signal: AbortSignal.timeout(PATIENCE_MS) }).catch(() => undefined)
        // They run in one thread: what is the thread's own is said by the first of them.
        return answer?.ok ? [{ role: name, text: await answer.text(), ofThread: at === 0 }] : []
      }),
    )
    return texts.flat()
  }
}
