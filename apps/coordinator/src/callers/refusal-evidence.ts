import { enqueue } from '@caracal/postgres'
import type { Logger } from '@caracal/service'
import { type RefusalAggregator, startRefusalAggregator } from '@caracal/streams'
import type { CoordinatorDesk } from '../desk.ts'

/** Mandates that were refused here, one event for each source, reason and zone a second, through the outbox like all evidence of ours. */
export function refusalEvidence(desk: Pick<CoordinatorDesk, 'database' | 'evidence'>, logger: Logger): RefusalAggregator {
  return startRefusalAggregator({
    type: 'call.refused',
    logger,
    evidence: {
      async record(draft) {
        const message = desk.evidence(draft)
        await enqueue(desk.database.query, message)
        const { event } = JSON.parse(message.payload) as { readonly event: string }
        return (JSON.parse(event) as { readonly id: string }).id
      },
    },
  })
}
