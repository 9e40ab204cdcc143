import type { SyncAnswer, SyncRequest, ZoneId, ZoneSnapshot } from '@caracal/core'
import type { Streams, Subscription } from '@caracal/streams'
import type { ReplicaState } from './replica-state.ts'

/** Where zones are read from: Postgres at the STS, the STS over HTTP at the Gateway. */
export type ConfigurationSource = {
  /** These zones, or all. A zone that does not exist is left out. */
  readonly snapshot: (zones?: readonly ZoneId[]) => Promise<readonly ZoneSnapshot[]>
  /** Reports what is loaded, learns what is current. */
  readonly sync: (request: SyncRequest) => Promise<SyncAnswer>
}

export type ConfigurationOptions = {
  readonly state: ReplicaState
  readonly streams: Streams
  readonly source: ConfigurationSource
  /** Name of this replica, as activation status shows it. */
  readonly replica: string
  readonly role: string
  /** Whether the source has to compare with what it has its configuration from, each time it is asked. */
  readonly proof?: boolean
  readonly monotonic?: () => number
  readonly onError?: (what: 'load' | 'sync' | 'subscribe', error: unknown) => void
}

export type ConfigurationFollower = {
  /** Resolves when every zone was loaded for the first time; it is tried again for ever. */
  readonly loaded: Promise<void>
  /** Loads a zone now, single flight. Rejects when the source does not answer. */
  readonly load: (zone: ZoneId) => Promise<void>
  /**
   * Loads a zone because something in it is not known (read your writes), at most once a second for each zone: who comes sooner
   * waits for the next load together with the others. Failures are quiet.
   */
  readonly refresh: (zone: ZoneId) => Promise<void>
  /**
   * Asks what is current, after this was called, and loads what is newer: true when the source answered and everything it named is
   * held. Who comes while one is under way waits for the next, together with the others.
   */
  readonly confirm: () => Promise<boolean>
  readonly stop: () => Promise<void>
}

const TICK_MS = 100
const SYNC_EVERY_MS = 5000
const REFRESH_EVERY_MS = 1000
const RETRY = { first: 100, most: 1000 }
/** How long a newer version may be known without being loaded before the zone refuses: lagging sources need a moment. */
const GRACE_MS = 1000

/** `first`: the version that is known for longest and not held; `since`: for how long that is. */
type Wanted = { version: number; first: number; since: number; nextTry: number; delay: number }

/**
 * Keeps the zones of a replica current (P-023): the ends of both broadcasts are noted, everything is loaded, the broadcasts
 * followed from there; each 5 s, and after a gap, the versions are compared with the source. A zone that is known to be newer
 * and cannot be loaded refuses after a second and is tried again for ever.
 */
export function followConfiguration(options: ConfigurationOptions): ConfigurationFollower {
  const { state, streams, source } = options
  const monotonic = options.monotonic ?? (() => performance.now())
  const report = options.onError ?? (() => {})
  const proof = options.proof === true ? ({ proof: true } as const) : {}

  const wanted = new Map<ZoneId, Wanted>()
  const flights = new Map<ZoneId, Promise<void>>()
  const refreshed = new Map<ZoneId, number>()
  const refreshing = new Map<ZoneId, Promise<void>>()
  const subscriptions: Subscription[] = []
  const loaded = Promise.withResolvers<void>()
  let starting: Promise<void> | null = null
  let started = false
  let nextStart = { at: Number.NEGATIVE_INFINITY, delay: RETRY.first }
  let syncing: Promise<void> | null = null
  let lastSync = Number.NEGATIVE_INFINITY
  let answered = false
  let confirming: Promise<boolean> | null = null
  let stopped = false

  function load(zone: ZoneId): Promise<void> {
    const flying = flights.get(zone)
    if (flying !== undefined) return flying
    const heard = wanted.get(zone)?.version ?? 0
    const flight = (async () => {
      try {
        const [snapshot] = await source.snapshot([zone])
        if (snapshot !== undefined) state.apply(snapshot)
        else if (!wanted.has(zone)) state.remove(zone)
        settle(zone)
      } finally {
        flights.delete(zone)
        // Something newer was heard of since it was asked for.
        const want = wanted.get(zone)
        if (want !== undefined && want.version > heard) {
          want.nextTry = monotonic()
          pursue()
        }
      }
    })()
    flights.set(zone, flight)
    return flight
  }

  /** What was wanted is there; a source that lags behind its own broadcast has to be asked again. */
  function settle(zone: ZoneId): void {
    const want = wanted.get(zone)
    const held = state.zone(zone)
    if (want === undefined || held === undefined || held.snapshot.version < want.first) return
    if (held.snapshot.version >= want.version) {
      wanted.delete(zone)
      return
    }
    // It follows: what came meanwhile is known for a shorter time.
    want.first = want.version
    want.since = monotonic()
    want.delay = RETRY.first
  }

  function want(zone: ZoneId, version: number): void {
    const held = state.zone(zone)
    if (held !== undefined && held.snapshot.version >= version && held.policy.kind !== 'failed') return
    const known = wanted.get(zone)
    if (known !== undefined) known.version = Math.max(known.version, version)
    else wanted.set(zone, { version, first: version, since: monotonic(), nextTry: monotonic(), delay: RETRY.first })
    pursue()
  }

  function pursue(): void {
    const now = monotonic()
    for (const [zone, want] of wanted) {
      if (flights.has(zone) || now < want.nextTry) continue
      want.nextTry = now + want.delay
      want.delay = Math.min(want.delay * 2, RETRY.most)
      load(zone).then(
        () => giveUpWaiting(zone, 'the source does not have the current version yet'),
        (error: unknown) => {
          report('load', error)
          giveUpWaiting(zone, error instanceof Error ? error.message : String(error))
        },
      )
    }
  }

  function giveUpWaiting(zone: ZoneId, error: string): void {
    const want = wanted.get(zone)
    if (want !== undefined && monotonic() - want.since >= GRACE_MS) state.fail(zone, error)
  }

  async function start(): Promise<void> {
    try {
      const tips = await Promise.all([streams.tip('caracal.config'), streams.tip('caracal.policy')])
      const asked = monotonic()
      for (const snapshot of await source.snapshot()) state.apply(snapshot)
      state.confirm(asked)
      while (subscriptions.length > 0) await subscriptions.pop()?.stop()
      subscriptions.push(await streams.subscribe('caracal.config', tips[0], subscriber))
      subscriptions.push(await streams.subscribe('caracal.policy', tips[1], subscriber))
      started = true
      loaded.resolve()
    } catch (error) {
      report('load', error)
      nextStart = { at: monotonic() + nextStart.delay, delay: Math.min(nextStart.delay * 2, RETRY.most) }
    }
  }

  const subscriber = {
    onMessage: ({ payload }: { readonly payload: string }) => {
      const message = readVersion(payload)
      if (message !== null) want(message.zone, message.version)
    },
    onGap: () => sync(),
  }

  function sync(): Promise<void> {
    syncing ??= (async () => {
      lastSync = monotonic()
      answered = false
      try {
        const answer = await source.sync({ v: 1, replica: options.replica, role: options.role, loaded: state.loaded(), ...proof })
        state.confirm(lastSync)
        answered = true
        const current = Object.entries(answer.zones) as [ZoneId, SyncAnswer['zones'][ZoneId]][]
        for (const [zone, { version }] of current) want(zone, version)
        const gone = state.zones().filter(({ snapshot }) => answer.zones[snapshot.id] === undefined)
        for (const { snapshot } of gone) await load(snapshot.id)
      } catch (error) {
        state.doubt()
        report('sync', error)
      } finally {
        syncing = null
      }
    })()
    return syncing
  }

  function confirm(): Promise<boolean> {
    confirming ??= (async () => {
      await syncing // it may have asked before whoever waits here came
      confirming = null
      if (stopped) return false
      await sync()
      const said = answered
      await Promise.allSettled(flights.values())
      return said && wanted.size === 0
    })()
    return confirming
  }

  function tick(): void {
    if (stopped) return
    const now = monotonic()
    if (!started) {
      if (starting === null && now >= nextStart.at)
        starting = start().finally(() => {
          starting = null
        })
      return
    }
    pursue()
    if (now - lastSync >= SYNC_EVERY_MS) void sync()
  }

  tick()
  const timer = setInterval(tick, TICK_MS)
  return {
    loaded: loaded.promise,
    load,
    confirm,
    refresh(zone) {
      const waiting = refreshing.get(zone)
      if (waiting !== undefined) return waiting
      const refresh = (async () => {
        await sleep((refreshed.get(zone) ?? Number.NEGATIVE_INFINITY) + REFRESH_EVERY_MS - monotonic())
        if (stopped) return
        // Who asks from here on may know of something newer than this load reads.
        refreshing.delete(zone)
        refreshed.set(zone, monotonic())
        await load(zone).catch((error: unknown) => report('load', error))
      })()
      refreshing.set(zone, refresh)
      return refresh
    },
    async stop() {
      stopped = true
      clearInterval(timer)
      await starting
      await syncing
      await Promise.allSettled(flights.values())
      await Promise.all(subscriptions.map((subscription) => subscription.stop()))
    },
  }
}

function sleep(ms: number): Promise<void> | undefined {
  return ms > 0 ? new Promise((resolve) => setTimeout(resolve, ms).unref()) : undefined
}

/** Both messages name the zone and the version from which on it is current. */
function readVersion(payload: string): { readonly zone: ZoneId; readonly version: number } | null {
  try {
    const { zone, version } = JSON.parse(payload) as { zone?: unknown; version?: unknown }
    return typeof zone === 'string' && typeof version === 'number' ? { zone: zone as ZoneId, version } : null
  } catch {
    return null
  }
}
