import type { Reason, ZoneId } from '@caracal/core'
import type { Logger } from '@caracal/service'
import type { EventDraft, EvidenceWriter } from '@caracal/streams'

/**
 * Refusals before authentication, one event per zone, source and reason in each second, so that a flood cannot fill a ledger
 * (P-095). The zone is that of the client that was named; a client nobody knows belongs to no zone's ledger and is counted
 * in the metrics only.
 */
export type RefusalEvidence = {
  note(refusal: { readonly zone: ZoneId; readonly source: string; readonly reason: Reason }): void
  /** Records what was noted. Never rejects: a refusal has no effect that evidence must come before. */
  flush(): Promise<void>
  /** Flushes and stops the clock. */
  stop(): Promise<void>
}

const EVERY_MS = 1000

/** Different pairs in one second; what comes past them is counted under one source. */
const MOST_PAIRS = 1000
const MANY_SOURCES = 'many'

export function refusalEvidence(evidence: Pick<EvidenceWriter, 'record'>, logger: Logger): RefusalEvidence {
  let noted = new Map<string, { draft: EventDraft; count: number }>()

  const flush = async () => {
    if (noted.size === 0) return
    const batch = noted
    noted = new Map()
    for (const { draft, count } of batch.values()) {
      try {
        await evidence.record({ ...draft, count })
      } catch (error) {
        logger.warn({ err: error }, 'refusals could not be recorded')
        return
      }
    }
  }
  const timer = setInterval(() => void flush(), EVERY_MS)
  timer.unref()

  return {
    note({ zone, source, reason }) {
      const from = noted.size >= MOST_PAIRS && !noted.has(`${zone} ${source} ${reason}`) ? MANY_SOURCES : source
      const key = `${zone} ${from} ${reason}`
      const held = noted.get(key)
      if (held !== undefined) held.count += 1
      else noted.set(key, { count: 1, draft: { zone, type: 'mandate.refused', actor: { source: from }, decision: 'deny', reason } })
    },
    flush,
    async stop() {
      clearInterval(timer)
      await flush()
    },
  }
}
