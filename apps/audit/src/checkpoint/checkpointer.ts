import { type Clock, isId, type ZoneId } from '@caracal/core'
import { type Checkpoint, logOrigin, parseCheckpoint, parseNote } from '@caracal/ledger'
import { type Database, inZone, type LogCheckpoint, listLogHeads } from '@caracal/postgres'
import type { Logger } from '@caracal/service'
import { type LogKeySettings, logVerifiers } from '../keys/log-key.ts'
import type { ZoneLogs } from '../keys/zone-logs.ts'
import type { Findings } from '../verification/findings.ts'
import type { Anchor } from './anchor.ts'
import { publishCheckpoint } from './publish.ts'

/** A quiet log gets its checkpoint this soon after an append, a busy one at most every `BETWEEN_MS` (P-103: within a second). */
const SOON_MS = 20
const BETWEEN_MS = 450
/** Logs whose appender died before it signed are found this often. */
const SWEEP_MS = 5_000

export type Checkpointer = {
  /** The log has grown: it gets a checkpoint within a second. */
  grown(zone: ZoneId): void
  /** Signs now if there is something new. Undefined when the log must not be signed or does not exist. */
  publish(zone: ZoneId): Promise<LogCheckpoint | undefined>
  /** The largest checkpoint this process knows of the log, its own memory and the anchors' together. */
  seen(zone: ZoneId): Checkpoint | undefined
  /** Zones whose log an anchor or this process remembers, whatever the database says. */
  remembered(): readonly ZoneId[]
  /** Seconds since the oldest entry that no checkpoint covers was appended; 0 when every entry is covered. */
  age(): number
  /** Signs what is new in every log. */
  sweep(): Promise<void>
  /** Signs what is still waiting. */
  stop(): Promise<void>
}

export function checkpointer(options: {
  readonly database: Database
  readonly logs: ZoneLogs
  readonly settings: LogKeySettings
  readonly anchors: readonly Anchor[]
  readonly findings: Findings
  readonly clock: Clock
  readonly logger: Logger
  readonly onAnchorFailure: () => void
}): Checkpointer {
  const { database, logs, settings, anchors, findings, clock, logger } = options
  const seen = new Map<ZoneId, Checkpoint>()
  /** On the monotonic clock, as what waits below: a clock that is set back must not hold checkpoints up. */
  const published = new Map<ZoneId, number>()
  const timers = new Map<ZoneId, NodeJS.Timeout>()
  const running = new Map<ZoneId, Promise<LogCheckpoint | undefined>>()
  /** When entries began to wait for a checkpoint. */
  const waiting = new Map<ZoneId, number>()

  const anchored = (origin: string): Checkpoint | undefined => {
    const notes = anchors.flatMap((anchor) => anchor.last().get(origin) ?? [])
    return largest(notes.flatMap((note) => parseCheckpoint(parseNote(note)?.text ?? '') ?? []))
  }
  const remembers = (zone: ZoneId): Checkpoint | undefined =>
    largest([seen.get(zone), anchored(logOrigin(settings.issuerUrl, zone))].filter((one) => one !== undefined))
  const sign = async (zone: ZoneId): Promise<LogCheckpoint | undefined> => {
    const signer = await logs.of(zone)
    // A log that does not verify is still served and still grows; it is not vouched for (P-104).
    if (signer === undefined || findings.of(zone).length > 0) return undefined
    const since = waiting.get(zone)
    const verifiers = await logVerifiers(database.query, settings, zone)
    const result = await publishCheckpoint(database, { zone, signer, verifiers, seen: remembers(zone) }, clock())
    if (!result.ok) {
      findings.add({ zone, kind: 'head', detail: result.problem })
      return undefined
    }
    const { checkpoint, fresh } = result
    seen.set(zone, { origin: signer.name, size: checkpoint.size, root: checkpoint.root })
    if (waiting.get(zone) === since) waiting.delete(zone)
    if (fresh) {
      published.set(zone, performance.now())
      for (const anchor of anchors) {
        try {
          await anchor.append(signer.name, checkpoint.note)
        } catch (error) {
          options.onAnchorFailure()
          logger.error({ err: error, anchor: anchor.name }, 'a checkpoint could not be anchored')
        }
      }
    }
    return checkpoint
  }
  const publish = async (zone: ZoneId): Promise<LogCheckpoint | undefined> => {
    await running.get(zone)?.catch(() => undefined)
    const next = running.get(zone) ?? inZone(zone, () => sign(zone)).finally(() => running.delete(zone))
    running.set(zone, next)
    return next
  }
  const attempt = async (zone: ZoneId) => {
    try {
      await publish(zone)
    } catch (error) {
      logger.warn({ err: error, zone }, 'a checkpoint could not be made; trying again')
    }
  }
  const plan = (zone: ZoneId) => {
    if (!waiting.has(zone)) waiting.set(zone, performance.now())
    if (timers.has(zone)) return
    const pause = Math.max(SOON_MS, (published.get(zone) ?? Number.NEGATIVE_INFINITY) + BETWEEN_MS - performance.now())
    const timer = setTimeout(() => {
      timers.delete(zone)
      void attempt(zone)
    }, pause)
    timers.set(zone, timer)
  }
  const sweep = async () => {
    for (const head of await listLogHeads(database.query)) {
      if (seen.get(head.zone)?.size !== head.size && !timers.has(head.zone)) await attempt(head.zone)
    }
  }
  const timer = setInterval(() => {
    sweep().catch((error) => logger.warn({ err: error }, 'logs without a checkpoint could not be looked for'))
  }, SWEEP_MS)
  timer.unref()

  return {
    grown: plan,
    publish,
    seen: remembers,
    remembered() {
      const origins = anchors.flatMap((anchor) => [...anchor.last().keys()])
      const zones = origins.map((origin) => origin.slice(origin.lastIndexOf('/') + 1)).filter((text) => isId('zone', text))
      // An anchor that several installations share remembers logs that are none of ours.
      const own = zones.filter((zone) => origins.includes(logOrigin(settings.issuerUrl, zone)))
      return [...new Set([...own, ...seen.keys()])]
    },
    age: () => Math.max(0, ...[...waiting.values()].map((since) => (performance.now() - since) / 1000)),
    sweep,
    async stop() {
      clearInterval(timer)
      for (const one of timers.values()) clearTimeout(one)
      await Promise.all([...timers.keys()].map(attempt))
      await Promise.allSettled(running.values())
    },
  }
}

function largest(checkpoints: readonly Checkpoint[]): Checkpoint | undefined {
  return checkpoints.reduce<Checkpoint | undefined>((best, one) => (best === undefined || one.size > best.size ? one : best), undefined)
}
