import type { Clock, ConfirmedMessage } from '@caracal/core'
import { type Database, listProducers, recordProduced } from '@caracal/postgres'
import type { Logger } from '@caracal/service'
import type { Streams } from '@caracal/streams'

/** Marks of producers that were heard of lately are said again this often, for those who missed it. Milliseconds. */
const REPEAT_MS = 5_000
/** Marks that moved are said together. Milliseconds. */
const GATHER_MS = 50
/** A producer that was silent for so long is not told again until it speaks. Milliseconds. */
const SILENT_MS = 600_000

/** Tells producers up to where the ledger holds their events, so that they may drop them (P-099). */
export type Producers = {
  /** Records what the ledger holds now, after the commit that put it there, and tells the producers soon. */
  held(seqs: ReadonlyMap<string, readonly number[]>): Promise<void>
  stop(): Promise<void>
}

export function producers(options: {
  readonly database: Database
  readonly streams: Streams
  readonly clock: Clock
  readonly logger: Logger
}): Producers {
  const { database, streams, clock, logger } = options
  const marks = new Map<string, { seq: number; seen: number }>()
  const moved = new Set<string>()
  let gathering: NodeJS.Timeout | undefined
  let telling = Promise.resolve()

  const tell = (names: readonly string[]) => {
    telling = telling.then(async () => {
      for (const producer of names) {
        const mark = marks.get(producer)
        if (mark === undefined) continue
        const message: ConfirmedMessage = { v: 1, producer, seq: mark.seq }
        try {
          await streams.publish('caracal.evidence', JSON.stringify(message))
        } catch (error) {
          // It is said again in a few seconds.
          logger.warn({ err: error, producer }, 'a producer could not be told what the ledger holds')
          return
        }
      }
    })
  }
  const tellMoved = () => {
    gathering = undefined
    tell([...moved])
    moved.clear()
  }
  const repeat = async () => {
    try {
      // Also what another replica recorded, or this one before it was restarted.
      for (const { producer, confirmedSeq, lastSeen } of await listProducers(database.query)) {
        marks.set(producer, { seq: confirmedSeq, seen: lastSeen })
      }
    } catch (error) {
      logger.warn({ err: error }, 'the marks of producers could not be read')
    }
    for (const [producer, { seen }] of marks) if (clock() - seen > SILENT_MS) marks.delete(producer)
    tell([...marks.keys()])
  }
  const timer = setInterval(() => void repeat(), REPEAT_MS)
  timer.unref()

  return {
    async held(seqs) {
      const now = clock()
      for (const [producer, confirmed] of await recordProduced(database.query, seqs, now)) {
        const before = marks.get(producer)?.seq ?? 0
        marks.set(producer, { seq: Math.max(before, confirmed), seen: now })
        if (confirmed > before) moved.add(producer)
      }
      if (moved.size > 0) gathering ??= setTimeout(tellMoved, GATHER_MS)
    },
    async stop() {
      clearInterval(timer)
      clearTimeout(gathering)
      tellMoved()
      await telling
    },
  }
}
