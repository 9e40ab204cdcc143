import type { Clock, ZoneId } from '@caracal/core'
import { logOrigin } from '@caracal/ledger'
import { type Database, inZone, listLogHeads } from '@caracal/postgres'
import type { Logger } from '@caracal/service'
import type { Checkpointer } from '../checkpoint/checkpointer.ts'
import { type LogKeySettings, logVerifiers } from '../keys/log-key.ts'
import type { Findings } from './findings.ts'
import { verifyHead } from './verify-head.ts'
import { verifyTree } from './verify-tree.ts'

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000
/** A pass over everything goes on this often; each time as much as a pass within half a day needs. */
const TICK_MS = 1_000
const TICKS_PER_PASS = DAY_MS / 2 / TICK_MS

/** The service verifies its own ledger: every head each minute, everything within a day (4-evidence, Ledger). */
export type SelfCheck = {
  /** Verifies every head now. Rejects when the database does not answer. */
  heads(): Promise<void>
  /** Moments of the last complete head check and pass; null before the first. */
  checkedAt(): { readonly heads: number | null; readonly everything: number | null }
  stop(): Promise<void>
}

export function selfCheck(options: {
  readonly database: Database
  readonly settings: LogKeySettings
  readonly checkpoints: Checkpointer
  readonly findings: Findings
  readonly clock: Clock
  readonly logger: Logger
}): SelfCheck {
  const { database, settings, checkpoints, findings, clock, logger } = options
  const db = database.query
  let headsAt: number | null = null
  let everythingAt: number | null = null
  let stopped = false

  const head = async (zone: ZoneId) => {
    const verifiers = await logVerifiers(db, settings, zone)
    const problems = await verifyHead(db, { zone, origin: logOrigin(settings.issuerUrl, zone), verifiers, seen: checkpoints.seen(zone) })
    if (problems.length === 0) findings.clear(zone, 'head')
    for (const detail of problems) findings.add({ zone, kind: 'head', detail })
  }
  const heads = async () => {
    const stored = (await listLogHeads(db)).map(({ zone }) => zone)
    for (const zone of new Set([...stored, ...checkpoints.remembered()])) await inZone(zone, () => head(zone))
    headsAt = clock()
  }

  /** Every log, one tile at a time; a log whose whole pass was clean is cleared. */
  async function* pass(): AsyncGenerator<{ readonly steps: number }> {
    const logs = await listLogHeads(db)
    const steps = logs.reduce((sum, { size }) => sum + Math.ceil(size / 256) + 1, 0)
    for (const { zone } of logs) {
      let clean = true
      for await (const { problems } of verifyTree(db, zone)) {
        clean &&= problems.length === 0
        for (const detail of problems) findings.add({ zone, kind: 'tree', detail })
        yield { steps }
      }
      if (clean) findings.clear(zone, 'tree')
    }
    everythingAt = clock()
  }
  let current: AsyncGenerator<{ readonly steps: number }> | undefined
  const goOn = async () => {
    // A small log is not read in a circle: the next pass begins an hour after the last one.
    if (current === undefined && everythingAt !== null && clock() - everythingAt < DAY_MS / 24) return
    current ??= pass()
    for (let done = 0, share = 1; done < share && !stopped; done += 1) {
      const step = await current.next()
      if (step.done) {
        current = undefined
        return
      }
      share = Math.ceil(step.value.steps / TICKS_PER_PASS)
    }
  }

  const every = (ms: number, what: string, work: () => Promise<void>) => {
    let running: Promise<void> | undefined
    const timer = setInterval(() => {
      running ??= work()
        .catch((error) => logger.warn({ err: error, what }, 'the ledger could not be verified'))
        .finally(() => {
          running = undefined
        })
    }, ms)
    timer.unref()
    return async () => {
      clearInterval(timer)
      await running
    }
  }
  const stops = [every(MINUTE_MS, 'heads', heads), every(TICK_MS, 'tree', goOn)]
  return {
    heads,
    checkedAt: () => ({ heads: headsAt, everything: everythingAt }),
    async stop() {
      stopped = true
      await Promise.all(stops.map((stop) => stop()))
    },
  }
}
