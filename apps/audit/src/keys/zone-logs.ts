import { type Clock, isId, type ZoneId } from '@caracal/core'
import type { NoteSigner } from '@caracal/ledger'
import { type Database, inZone, zoneVersions } from '@caracal/postgres'
import type { Logger } from '@caracal/service'
import type { Streams } from '@caracal/streams'
import { type LogKeySettings, openZoneLog } from './log-key.ts'

/** Zones are looked for this often even when no broadcast came. Milliseconds. */
const LOOK_MS = 60_000

/** The zones this process knows to have a log, with the signer of each. */
export type ZoneLogs = {
  /** The signer of the zone's log; the log is begun when the zone is new. Undefined when there is no such zone. */
  of(zone: ZoneId): Promise<NoteSigner | undefined>
  known(): readonly ZoneId[]
  /** Begins the log of every zone that has none. */
  findNew(): Promise<void>
}

export function zoneLogs(options: {
  readonly database: Database
  readonly settings: LogKeySettings
  readonly clock: Clock
  readonly logger: Logger
  /** A zone this process did not know before. */
  readonly onNew: (zone: ZoneId) => void
}): ZoneLogs {
  const { database, settings, clock, logger } = options
  const signers = new Map<ZoneId, NoteSigner>()
  const opening = new Map<ZoneId, Promise<NoteSigner | undefined>>()

  const open = async (zone: ZoneId) => {
    const signer = await inZone(zone, () => openZoneLog(database, settings, zone, clock()))
    if (signer !== undefined) {
      signers.set(zone, signer)
      options.onNew(zone)
    }
    return signer
  }
  const of = async (zone: ZoneId): Promise<NoteSigner | undefined> => {
    const known = signers.get(zone)
    if (known !== undefined) return known
    const running = opening.get(zone) ?? open(zone).finally(() => opening.delete(zone))
    opening.set(zone, running)
    return running
  }
  return {
    of,
    known: () => [...signers.keys()],
    async findNew() {
      for (const { zone } of await zoneVersions(database.query)) {
        try {
          await of(zone)
        } catch (error) {
          logger.error({ err: error, zone }, 'the log of a zone cannot be opened')
        }
      }
    },
  }
}

/** New zones get their log when their broadcast comes, and within a minute when it was missed. */
export async function followZones(logs: ZoneLogs, streams: Streams, logger: Logger): Promise<{ readonly stop: () => Promise<void> }> {
  const look = async () => {
    try {
      await logs.findNew()
    } catch (error) {
      logger.warn({ err: error }, 'new zones could not be looked for')
    }
  }
  const from = await streams.tip('caracal.config')
  await look()
  const subscription = await streams.subscribe('caracal.config', from, {
    onMessage: async ({ payload }) => {
      const zone = zoneOf(payload)
      if (zone !== undefined) await logs.of(zone)
    },
    onGap: look,
  })
  const timer = setInterval(() => void look(), LOOK_MS)
  timer.unref()
  return {
    async stop() {
      clearInterval(timer)
      await subscription.stop()
    },
  }
}

function zoneOf(payload: string): ZoneId | undefined {
  try {
    const message: unknown = JSON.parse(payload)
    const zone = typeof message === 'object' && message !== null && 'zone' in message ? message.zone : undefined
    return isId('zone', zone) ? zone : undefined
  } catch {
    return undefined
  }
}
