import type { OtherMetrics, RunningService } from '@caracal/service'

/** Longest wait for one role. Milliseconds. */
const PATIENCE_MS = 2_000

/** What the roles on loopback would answer a scrape with, for the role at the edge; one that does not answer is left out. */
export function metricsOf(services: () => readonly RunningService[]): OtherMetrics {
  return async () => {
    const texts = await Promise.all(
      services().map(async ({ name, metricsAddress }) => {
        if (metricsAddress === null) return []
        const answer = await fetch(`${metricsAddress.url}/metrics`, { signal: AbortSignal.timeout(PATIENCE_MS) }).catch(() => undefined)
        return answer?.ok ? [{ role: name, text: await answer.text() }] : []
      }),
    )
    return texts.flat()
  }
}
