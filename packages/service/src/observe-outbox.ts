import type { OutboxHealth } from '@caracal/streams'
import type { Metrics } from './metrics.ts'

/** `caracal_outbox_*{producer}`. What the database does not answer is left as it was. */
export function observeOutbox(metrics: Metrics, producer: string, health: () => Promise<OutboxHealth>): void {
  let asked: { readonly at: number; readonly answer: Promise<OutboxHealth | null> } | undefined
  // The three families of one scrape are one question.
  const ask = () => {
    if (asked === undefined || performance.now() - asked.at > 500) asked = { at: performance.now(), answer: health().catch(() => null) }
    return asked.answer
  }
  const gauge = (name: string, help: string, value: (health: OutboxHealth) => number) => {
    metrics.gauge(name, help, ['producer'], async (own) => {
      const found = await ask()
      if (found !== null) own.set({ producer }, value(found))
    })
  }
  gauge('caracal_outbox_pending', 'Messages that wait to be published.', ({ pending }) => pending)
  gauge('caracal_outbox_dead', 'Messages that can never be published: somebody has to look at them.', ({ dead }) => dead)
  gauge('caracal_outbox_oldest_pending_seconds', 'How long the oldest message has waited.', ({ oldestSeconds }) => oldestSeconds)
}
