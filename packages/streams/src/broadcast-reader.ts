import type { BroadcastStream, KeyRing } from '@caracal/core'
import { isAuthentic, type Seal } from './message-authentication.ts'
import { backoff, pause } from './pause.ts'
import type { StreamLogger } from './stream-logger.ts'
import type { BroadcastSubscriber, Position, Subscription } from './streams.ts'

export type SealedBroadcast = {
  readonly position: Position
  readonly kind: 'message' | 'heartbeat'
  readonly payload: string
  readonly seal: Seal
}

/** What a driver found after a position: the next messages, or that it cannot prove that they are the next ones. */
export type BroadcastRead =
  | { readonly messages: readonly SealedBroadcast[] /** Nothing more was there at that moment. */; readonly caughtUp: boolean }
  | { readonly gap: string /** Where to go on once the gap is made good. */; readonly resume: Position }

export type BroadcastSource = {
  readonly stream: BroadcastStream
  readonly from: Position
  readonly subscriber: BroadcastSubscriber
  readonly keys: KeyRing
  readonly logger: StreamLogger
  /** Waits up to a second for something after `position`. A throw is retried with backoff. */
  readonly read: (position: Position, signal: AbortSignal) => Promise<BroadcastRead>
  /** Ends a waiting read. */
  readonly interrupt: () => void
}

/** A message that waited longer than this between being read and being done with says nothing about now. */
const FRESH_MS = 1_000

/**
 * The one loop of every subscription, whatever the driver: in order, one at a time, authenticated. A gap holds everything
 * back until `onGap` succeeded; so does nothing else (P-057, P-114).
 */
export function readBroadcast(source: BroadcastSource): Subscription {
  const stopping = new AbortController()
  const { subscriber, logger, stream } = source

  async function tellGap(reason: string): Promise<void> {
    logger.warn({ stream, reason }, 'a stream has a gap; what it feeds is loaded anew')
    for (let attempt = 0; !stopping.signal.aborted; attempt += 1) {
      try {
        return await subscriber.onGap(reason)
      } catch (error) {
        logger.error({ err: error, stream }, 'a gap could not be made good; trying again')
        await pause(backoff(attempt, 100, 2_000), stopping.signal)
      }
    }
  }

  async function deliver(message: SealedBroadcast): Promise<boolean> {
    if (!isAuthentic(source.keys, { stream, kind: message.kind, partition: '', payload: message.payload }, message.seal)) {
      logger.error({ stream, position: message.position, key: message.seal.key }, 'a message of a stream is not authentic; skipped')
      return false
    }
    if (message.kind === 'message') {
      try {
        await subscriber.onMessage({ position: message.position, payload: message.payload })
      } catch (error) {
        logger.error({ err: error, stream, position: message.position }, 'a message of a stream could not be handled; counted as seen')
      }
    }
    return true
  }

  async function run(): Promise<void> {
    let position = source.from
    let failures = 0
    while (!stopping.signal.aborted) {
      try {
        const found = await source.read(position, stopping.signal)
        const readAt = performance.now()
        if (failures > 0) logger.info({ stream }, 'a stream can be read again')
        failures = 0
        if ('gap' in found) {
          await tellGap(found.gap)
          position = found.resume
          continue
        }
        let authentic = 0
        for (const message of found.messages) {
          if (stopping.signal.aborted) return
          if (await deliver(message)) authentic += 1
          position = message.position
        }
        // What somebody put in the place of a message may have been a revocation.
        if (authentic < found.messages.length) await tellGap('a message was not authentic')
        else if (authentic > 0 && found.caughtUp && performance.now() - readAt < FRESH_MS) subscriber.onAlive?.()
      } catch (error) {
        if (stopping.signal.aborted) return
        if (failures === 0) logger.warn({ err: error, stream }, 'a stream cannot be read; trying again')
        await pause(backoff(failures, 50, 1_000), stopping.signal)
        failures += 1
      }
    }
  }

  const ended = run()
  return {
    stop: async () => {
      stopping.abort()
      source.interrupt()
      await ended
    },
  }
}
