import type { Event, Reason, ZoneId } from '@caracal/core'
import type { EvidenceWriter } from '../evidence-writer.ts'
import type { StreamLogger } from '../stream-logger.ts'

/** A refusal before anybody was authenticated. `zone` only when it exists: a name that somebody made up is none. */
export type EarlyRefusal = { readonly source: string; readonly reason: Reason; readonly zone?: ZoneId | undefined }

export type RefusalAggregatorOptions = {
  readonly evidence: Pick<EvidenceWriter, 'record'>
  readonly type: Extract<Event['type'], 'call.refused' | 'mandate.refused' | 'admin.refused'>
  readonly logger: StreamLogger
  /** Whose log takes refusals that belong to no zone; without it they are only logged. */
  readonly homeZone?: () => ZoneId | undefined
  /** Different (source, reason, zone) that are told apart within one period; the rest counts together by reason. */
  readonly most?: number
  readonly everyMs?: number
}

export type RefusalAggregator = {
  note(refusal: EarlyRefusal): void
  /** Writes what was counted since the last time. */
  flush(): Promise<void>
  /** Flushes and ends. */
  close(): Promise<void>
}

type Counted = EarlyRefusal & { count: number }

/** Source of what was too varied to be told apart. */
const MANY = 'many'

/** One event with a count for each source, reason and zone a second: a flood makes a bounded number of rows (P-095). */
export function startRefusalAggregator(options: RefusalAggregatorOptions): RefusalAggregator {
  const { evidence, type, logger, homeZone = () => undefined, most = 200, everyMs = 1_000 } = options
  let counted = new Map<string, Counted>()

  function add(refusal: EarlyRefusal, count: number): void {
    const key = `${refusal.source}\0${refusal.reason}\0${refusal.zone ?? ''}`
    const known = counted.get(key)
    if (known) known.count += count
    else if (counted.size < most || refusal.source === MANY) counted.set(key, { ...refusal, count })
    else add({ source: MANY, reason: refusal.reason }, count)
  }

  async function write(refusal: Counted): Promise<void> {
    const { source, reason, count } = refusal
    const zone = refusal.zone ?? homeZone()
    if (zone === undefined) return logger.warn({ source, reason, count }, 'refusals that belong to no zone')
    try {
      await evidence.record({ zone, type, decision: 'deny', reason, actor: { source }, count })
    } catch (error) {
      logger.error({ err: error, source, reason, count }, 'refusals could not be recorded; they are counted again')
      add(refusal, count)
    }
  }

  async function flush(): Promise<void> {
    const taken = counted
    counted = new Map()
    await Promise.all([...taken.values()].map(write))
  }

  const timer = setInterval(() => void flush(), everyMs).unref()
  return {
    note: (refusal) => add(refusal, 1),
    flush,
    close: async () => {
      clearInterval(timer)
      await flush()
    },
  }
}
