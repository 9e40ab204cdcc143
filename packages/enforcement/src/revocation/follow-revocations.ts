import type { Clock, Revocation, UnixMillis } from '@caracal/core'
import type { Streams, Subscription } from '@caracal/streams'
import { readRevocation } from './read-revocation.ts'
import type { RevocationSource } from './revocation-source.ts'
import type { RevocationView } from './revocation-view.ts'

export type FollowOptions = {
  readonly view: RevocationView
  readonly streams: Streams
  readonly source: RevocationSource
  readonly clock?: Clock
  /** Milliseconds on a clock that never steps; the same one that the view has. */
  readonly monotonic?: () => number
  /** Told of what failed and is tried again. */
  readonly onError?: (what: 'load' | 'subscribe' | 'poll' | 'message', error: unknown) => void
}

export type RevocationFollower = {
  /** Resolves when the view is loaded and the broadcast is joined for the first time; until then it is tried again for ever. */
  readonly joined: Promise<void>
  /** Whether the broadcast is silent and the source is polled instead. */
  readonly polling: () => boolean
  /** Tells from now on how many seconds each revocation took from its transaction until it is refused and cut here (P-055). */
  readonly measure: (took: (seconds: number) => void) => void
  readonly stop: () => Promise<void>
}

const TICK_MS = 250
/** One heartbeat a second: half of one more is silence. */
const SILENT_AFTER_MS = 1500
const POLL_EVERY_MS = 1000
/** What a poll reaches back beyond what is needed: clocks that differ, and transactions that were open. */
const POLL_OVERLAP_MS = 120_000
const RETRY_MS = 1000

/**
 * Keeps a revocation view fresh: the place of the broadcast is noted, the snapshot loaded, the broadcast followed from that
 * place. When the broadcast is silent for 1.5 s the source is polled each second; after a gap the snapshot is loaded anew.
 * While neither path works the view grows stale by itself, and refuses.
 */
export function followRevocations(options: FollowOptions): RevocationFollower {
  const { view, streams, source } = options
  const clock = options.clock ?? Date.now
  const monotonic = options.monotonic ?? (() => performance.now())
  const report = options.onError ?? (() => {})

  let stopped = false
  let subscription: Subscription | null = null
  let lastSign = Number.NEGATIVE_INFINITY
  let lastPoll = Number.NEGATIVE_INFINITY
  let pollFrom: UnixMillis | null = null
  let poll: Promise<void> | null = null
  let load: Promise<string | null> | null = null
  let reload = false
  let nextLoad = Number.NEGATIVE_INFINITY
  let joining: Promise<void> | null = null
  let took: (seconds: number) => void = () => {}
  const joined = Promise.withResolvers<void>()

  /** Applies what came, and measures what was not known before: what is published again was refused already. */
  function applyMeasured(revocations: readonly Revocation[], apply: () => void): void {
    const news = revocations.filter(({ op, id }) => op === 'revoke' && view.isRevoked([id]) === null)
    apply()
    for (const { at } of news) took(Math.max(0, clock() - at) / 1000)
  }

  /** Loads a snapshot, single flight; gives the place to subscribe from, or null when it failed. */
  function loadSnapshot(): Promise<string | null> {
    load ??= (async () => {
      const loading = view.startLoading()
      try {
        const snapshot = await source.snapshot()
        loading.finish(snapshot)
        reload = view.unfit() === 'full'
        return snapshot.position
      } catch (error) {
        loading.abandon()
        report('load', error)
        reload = true
        return null
      } finally {
        nextLoad = monotonic() + RETRY_MS
        load = null
      }
    })()
    return load
  }

  async function join(): Promise<void> {
    const position = await loadSnapshot()
    if (position === null || stopped) return
    try {
      subscription = await streams.subscribe('caracal.revocations', position, {
        onMessage: (message) => {
          const revocation = readRevocation(message.payload)
          if (revocation === null) report('message', new Error('not a revocation'))
          else applyMeasured([revocation], () => view.apply(revocation, message.position))
        },
        onAlive: () => {
          lastSign = monotonic()
          view.proven()
        },
        onGap: async () => {
          view.doubt()
          reload = true
          await load // begun before the gap: it may have read too early, and does not count
          if ((await loadSnapshot()) === null) throw new Error('the snapshot could not be loaded')
        },
      })
      joined.resolve()
    } catch (error) {
      report('subscribe', error)
      nextLoad = monotonic() + RETRY_MS
    }
  }

  async function pollOnce(): Promise<void> {
    const asked = monotonic()
    const silence = Number.isFinite(lastSign) ? asked - lastSign : 0
    try {
      const answer = await source.since(pollFrom ?? clock() - silence - POLL_OVERLAP_MS)
      applyMeasured(answer.revocations, () => view.merge(answer.revocations))
      view.proven(asked)
      pollFrom = answer.at - POLL_OVERLAP_MS
    } catch (error) {
      report('poll', error)
    }
  }

  const isSilent = () => monotonic() - lastSign >= SILENT_AFTER_MS

  function tick(): void {
    const now = monotonic()
    if (subscription === null && now >= nextLoad) {
      joining ??= join().finally(() => {
        joining = null
      })
    } else if (reload && now >= nextLoad && load === null) void loadSnapshot()
    if (!isSilent()) pollFrom = null
    else if (view.unfit() !== 'not_loaded' && poll === null && now - lastPoll >= POLL_EVERY_MS) {
      lastPoll = now
      poll = pollOnce().finally(() => {
        poll = null
      })
    }
    view.tick()
  }

  tick()
  const timer = setInterval(tick, TICK_MS)
  return {
    joined: joined.promise,
    measure: (to) => {
      took = to
    },
    polling: () => poll !== null || pollFrom !== null,
    async stop() {
      stopped = true
      clearInterval(timer)
      await joining
      await poll
      await load
      await subscription?.stop()
    },
  }
}
