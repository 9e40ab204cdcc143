import type { Revocation, UnixMillis, ZoneId } from '@caracal/core'
import { REVOCATION_RETENTION, readRevocation } from '@caracal/enforcement'
import { type Database, inZone, revocationsSince } from '@caracal/postgres'
import type { Logger } from '@caracal/service'
import type { Streams, Subscription } from '@caracal/streams'

/** Serves the feeds of all verifiers of this replica from one subscription. */
export type RevocationHub = {
  /** Server-sent events of one zone until `signal` aborts. */
  follow(zone: ZoneId, signal: AbortSignal): AsyncIterable<string>
  close(): Promise<void>
}

/** Heartbeats come this often, and only while nothing can be missing. Milliseconds. */
const BEAT = 1_000
/** So long after its last sign of life the broadcast counts as silent; then the store is read instead, once a second. */
const SILENT_AFTER = 2_500
/** A verifier that takes nothing for this many events is cut: it will connect again and get a snapshot. */
const MOST_WAITING = 10_000

type Follower = { readonly zone: ZoneId; readonly push: (event: string) => void }

/**
 * One subscription for all followers. A follower first listens and then reads the snapshot, so nothing falls between them; after a gap
 * everybody gets a snapshot anew. While the broadcast is silent, snapshots from Postgres take its place; when both are away there
 * are no heartbeats, and verifiers grow stale as they must.
 */
export function openRevocationHub(parts: {
  readonly database: Database
  readonly streams: Streams
  readonly logger: Logger
  readonly now: () => UnixMillis
  readonly monotonic?: () => number
}): RevocationHub {
  const { database, streams, logger, now } = parts
  const monotonic = parts.monotonic ?? (() => performance.now())
  const followers = new Set<Follower>()
  let aliveAt = Number.NEGATIVE_INFINITY
  let subscription: Subscription | undefined
  let joining: Promise<void> | undefined
  let polling: Promise<void> | undefined
  let closed = false

  const snapshot = async (zone: ZoneId): Promise<string> => {
    const entries = await inZone(zone, () => revocationsSince(database.query, now() - REVOCATION_RETENTION * 1000, zone))
    return sse('snapshot', { entries: entries.filter(({ op }) => op === 'revoke') })
  }
  const resend = async (): Promise<void> => {
    for (const zone of new Set([...followers].map((one) => one.zone))) {
      const event = await snapshot(zone)
      for (const follower of followers) if (follower.zone === zone) follower.push(event)
    }
  }
  const join = async (): Promise<void> => {
    subscription = await streams.subscribe('caracal.revocations', await streams.tip('caracal.revocations'), {
      onMessage: ({ payload }) => {
        const revocation = readRevocation(payload)
        if (revocation === null) return logger.warn({}, 'a message of the revocation stream is not a revocation')
        broadcast(revocation)
      },
      onGap: async (reason) => {
        logger.warn({ reason }, 'the revocation stream has a gap: followers get a snapshot')
        await resend()
      },
      onAlive: () => {
        aliveAt = monotonic()
      },
    })
    // Whoever came before the subscription stood gets what may have passed meanwhile.
    await resend()
  }
  const broadcast = (revocation: Revocation): void => {
    const event = sse('revocation', revocation)
    for (const follower of followers) if (follower.zone === revocation.zone) follower.push(event)
  }
  const failed = (what: string) => (error: unknown) => logger.warn({ err: error }, what)

  const tick = (): void => {
    if (closed) return
    if (subscription === undefined) {
      joining ??= join()
        .catch(failed('the revocation stream cannot be joined'))
        .finally(() => {
          joining = undefined
        })
    }
    if (monotonic() - aliveAt <= SILENT_AFTER) {
      const beat = sse('heartbeat', { at: now() })
      for (const follower of followers) follower.push(beat)
      return
    }
    // A snapshot proves as much as a heartbeat does.
    if (followers.size === 0) return
    polling ??= resend()
      .catch(failed('revocations cannot be read'))
      .finally(() => {
        polling = undefined
      })
  }
  tick()
  const timer = setInterval(tick, BEAT)
  timer.unref()

  return {
    async *follow(zone, signal) {
      const waiting: string[] = []
      let wake: (() => void) | undefined
      let overrun = false
      const rouse = () => wake?.()
      const follower: Follower = {
        zone,
        push: (event) => {
          overrun ||= waiting.length >= MOST_WAITING
          if (!overrun) waiting.push(event)
          rouse()
        },
      }
      followers.add(follower)
      signal.addEventListener('abort', rouse, { once: true })
      try {
        yield await snapshot(zone)
        while (!signal.aborted && !closed && !overrun) {
          if (waiting.length === 0) {
            await new Promise<void>((resolve) => {
              wake = resolve
            })
            wake = undefined
            continue
          }
          yield waiting.splice(0).join('')
        }
      } finally {
        followers.delete(follower)
        signal.removeEventListener('abort', rouse)
      }
    },
    async close() {
      closed = true
      clearInterval(timer)
      for (const follower of followers) follower.push('')
      await joining
      await polling
      await subscription?.stop()
    },
  }
}

/** One event of a `text/event-stream` (HTML, section 9.2.6). JSON has no line breaks. */
function sse(event: string, data: unknown): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`
}
