import type { ApplicationId, Clock, KeyRing, ZoneId } from '@caracal/core'
import { type Database, isDatabaseOutage, loadZoneConfiguration, type ZoneConfiguration, zoneVersions } from '@caracal/postgres'
import { isMaintenanceDue, maintainZoneKeys } from '../keys/zone-key-store.ts'
import { readZone, type ZoneReading } from './read-zone.ts'
import type { ZoneState } from './zone-state.ts'

/** Every zone in memory. A question costs a lookup; Postgres is asked in the background, or once before a refusal. */
export type Zones = {
  get(zone: ZoneId): ZoneState | undefined
  /** The zone that has this Application. */
  ofApplication(application: ApplicationId): ZoneState | undefined
  all(): readonly ZoneState[]
  /**
   * Compares versions with Postgres and loads what moved; one comparison at a time, and a call that comes while one runs gets the
   * next. True when something changed. Rejects when Postgres is away; what is in memory stays.
   */
  check(): Promise<boolean>
  /**
   * The same before a refusal, at most twice a second in the long run; strangers cannot use up what is there for those who have
   * authenticated. True when it was done: then look again.
   */
  refresh(asker: 'stranger' | 'known'): Promise<boolean>
}

export type ZonesOptions = ZoneReading & {
  readonly database: Database
  readonly kek: KeyRing
  readonly clock: Clock
  /** Told of every zone that changed or went. */
  readonly onChange?: (zone: ZoneId) => void
  readonly onPromotion?: (zone: ZoneId) => void
  /** Told each time that the active policy of a zone cannot be used. */
  readonly onUnloadable?: () => void
}

/** More zones than this are loaded all at once. */
const ONE_BY_ONE = 16

/** Of many zones loaded at once, keys of one are opened each so many milliseconds, those that are asked for at once. */
const OPEN_EVERY_MS = 20

/** Zones whose keys are made or changed at the same time; each is a transaction that waits for the disk. */
const TENDED_AT_ONCE = 4

const REFRESH_BURST = 10
const REFRESH_PER_SECOND = 2

export function openZones(options: ZonesOptions): Zones {
  const { database, kek, clock, logger } = options
  const states = new Map<ZoneId, ZoneState>()
  const homes = new Map<ApplicationId, ZoneId>()
  let current: Promise<boolean> | undefined
  let queued: Promise<boolean> | undefined
  const buckets = { stranger: { tokens: REFRESH_BURST, at: performance.now() }, known: { tokens: REFRESH_BURST, at: performance.now() } }

  function put(state: ZoneState): void {
    forget(state.snapshot.id)
    states.set(state.snapshot.id, state)
    for (const application of state.clients.keys()) homes.set(application, state.snapshot.id)
    if (!state.policies.ok) {
      logger.error({ zone: state.snapshot.id, detail: state.policies.error }, 'the active policy does not compile')
      options.onUnloadable?.()
    }
    options.onChange?.(state.snapshot.id)
  }

  function forget(zone: ZoneId): void {
    for (const application of states.get(zone)?.clients.keys() ?? []) homes.delete(application)
    states.delete(zone)
  }

  async function load(zones: readonly ZoneId[]): Promise<void> {
    let read: readonly ZoneConfiguration[]
    if (zones.length > ONE_BY_ONE) {
      const wanted = new Set(zones)
      read = (await loadZoneConfiguration(database.query)).filter((one) => wanted.has(one.zone.id))
    } else {
      const each = await Promise.all(zones.map(async (zone) => loadOne(zone)))
      read = each.flat()
    }
    for (const configuration of read) put(readZone(configuration, options, states.get(configuration.zone.id)))
    if (zones.length > ONE_BY_ONE) openInPassing(zones)
  }

  /** Keys that nobody has needed yet, a zone at a time: one that does not open is in the log before somebody needs it. */
  function openInPassing(zones: readonly ZoneId[], at = 0): void {
    const zone = zones[at]
    if (zone === undefined) return
    setTimeout(() => {
      const sealed = states.get(zone)?.sealed
      sealed?.signer?.opened()
      sealed?.pepper?.opened()
      openInPassing(zones, at + 1)
    }, OPEN_EVERY_MS).unref()
  }

  /** A zone whose active policy is not whole is refused until it is: neither the old policy nor none is served (P-024). */
  async function loadOne(zone: ZoneId): Promise<readonly ZoneConfiguration[]> {
    try {
      return await loadZoneConfiguration(database.query, zone)
    } catch (error) {
      if (isDatabaseOutage(error)) throw error
      logger.error({ err: error, zone }, 'a zone cannot be loaded')
      const held = states.get(zone)
      if (held !== undefined) put({ ...held, policies: { ok: false, error: String(error) } })
      return []
    }
  }

  async function compare(): Promise<boolean> {
    const versions = await zoneVersions(database.query)
    const known = new Set(versions.map(({ zone }) => zone))
    const moved = versions.filter(({ zone, version, policy }) => {
      const held = states.get(zone)
      return (
        held === undefined ||
        held.snapshot.version !== version ||
        (held.snapshot.policy?.setVersion ?? null) !== policy ||
        !held.policies.ok
      )
    })
    if (moved.length > 0) await load(moved.map(({ zone }) => zone))
    const gone = [...states.keys()].filter((zone) => !known.has(zone))
    for (const zone of gone) {
      forget(zone)
      options.onChange?.(zone)
    }
    const tended = await tendKeys()
    return moved.length > 0 || gone.length > 0 || tended
  }

  /** Keys that are missing or due for a change. */
  async function tendKeys(): Promise<boolean> {
    const due = [...states.values()].filter((state) => isMaintenanceDue(state.keys, clock())).map(({ snapshot }) => snapshot.id)
    const left = [...due]
    const tend = async () => {
      for (let zone = left.pop(); zone !== undefined; zone = left.pop()) {
        const { promoted } = await maintainZoneKeys(database, kek, zone, clock())
        if (promoted) options.onPromotion?.(zone)
      }
    }
    await Promise.all(Array.from({ length: TENDED_AT_ONCE }, tend))
    if (due.length > 0) await load(due)
    return due.length > 0
  }

  const check = (): Promise<boolean> => {
    if (current === undefined) {
      current = compare().finally(() => {
        current = undefined
      })
      return current
    }
    // What runs may have read before the change that this call is about.
    queued ??= current
      .catch(() => false)
      .then(() => {
        queued = undefined
        return check()
      })
    return queued
  }

  return {
    get: (zone) => states.get(zone),
    ofApplication(application) {
      const home = homes.get(application)
      return home === undefined ? undefined : states.get(home)
    },
    all: () => [...states.values()],
    check,
    async refresh(asker) {
      const now = performance.now()
      const bucket = buckets[asker]
      bucket.tokens = Math.min(REFRESH_BURST, bucket.tokens + ((now - bucket.at) / 1000) * REFRESH_PER_SECOND)
      bucket.at = now
      if (bucket.tokens < 1) return false
      bucket.tokens -= 1
      try {
        await check()
        return true
      } catch (error) {
        logger.warn({ err: error }, 'configuration could not be compared before a refusal')
        return false
      }
    },
  }
}
