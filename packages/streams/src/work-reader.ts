import type { KeyRing, WorkStream } from '@caracal/core'
import { isAuthentic, type Seal } from './message-authentication.ts'
import { backoff, pause } from './pause.ts'
import type { StreamLogger } from './stream-logger.ts'
import type { Subscription, WorkConsumer, WorkMessage, WorkOutcome } from './streams.ts'

/** Times of work streams. Milliseconds. */
export type WorkTiming = {
  /** A message whose consumer gave no sign of life for this long is handed to another. */
  readonly reclaimMs: number
  /** Pause before the second try; doubles with every further one. */
  readonly retryMs: number
  /** Deliveries after which a message is set aside. */
  readonly tries: number
}

/** A batch ends before its payloads are longer, by what payloads were lately: few messages of many events, many of one. Characters. */
const BATCH_CHARACTERS = 4 * 1024 * 1024
/** What comes next may be larger than what came last: batches begin small, and grow while they are full. */
const FIRST_BATCH = 16

export const WORK_TIMING: WorkTiming = { reclaimMs: 30_000, retryMs: 1_000, tries: 8 }

export type SealedWork = WorkMessage & { readonly seal: Seal }

export type Settlement = {
  readonly done: readonly SealedWork[]
  readonly retry: readonly { readonly message: SealedWork; readonly afterMs: number }[]
  readonly quarantine: readonly { readonly message: SealedWork; readonly reason: string }[]
}

/** What a driver does for the loop below. Every call may throw when the store is away. */
export type WorkSource = {
  /** Up to `max` messages, each delivery counted; waits up to a second for the first. */
  take(max: number, signal: AbortSignal): Promise<readonly SealedWork[]>
  /** A sign of life for messages still in work. */
  keep(messages: readonly SealedWork[]): Promise<void>
  /** Idempotent: it is repeated until the store has it. */
  settle(settlement: Settlement): Promise<void>
  /** Gives messages back at once, as if this delivery had not been. */
  surrender(messages: readonly SealedWork[]): Promise<void>
  /** Ends a waiting `take`. */
  interrupt(): void
}

type Options = {
  readonly stream: WorkStream
  readonly source: WorkSource
  readonly consumer: WorkConsumer
  readonly keys: KeyRing
  readonly logger: StreamLogger
  readonly timing: WorkTiming
}

function nextSize(taken: readonly SealedWork[], batch: number): number {
  const length = taken.reduce((sum, { payload }) => sum + payload.length, 1)
  const byLength = Math.max(1, Math.floor((BATCH_CHARACTERS * taken.length) / length))
  return Math.min(batch, byLength, Math.max(FIRST_BATCH, taken.length * 4))
}

/** The one loop of every consumer, whatever the driver (P-113): take, authenticate, handle, settle. */
export function readWork({ stream, source, consumer, keys, logger, timing }: Options): Subscription {
  const stopping = new AbortController()
  const { signal } = stopping

  function isOurs(message: SealedWork): boolean {
    return isAuthentic(keys, { stream, kind: 'work', partition: message.partition, payload: message.payload }, message.seal)
  }

  /** Undefined when we stopped while a dependency was away: then nothing has happened to the messages. */
  async function handle(messages: readonly SealedWork[]): Promise<readonly WorkOutcome[] | undefined> {
    const plain = messages.map(({ position, partition, payload, deliveries }) => ({ position, partition, payload, deliveries }))
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      try {
        return await consumer.handle(plain)
      } catch (error) {
        if (consumer.isOutage?.(error) !== true) {
          logger.error({ err: error, stream, messages: messages.length }, 'a batch could not be handled; it is tried again')
          return messages.map(() => 'retry')
        }
        if (attempt === 0) logger.warn({ err: error, stream }, 'a dependency is away; reading pauses')
        await pause(backoff(attempt, 100, 5_000), signal)
      }
    }
    return undefined
  }

  function sort(messages: readonly SealedWork[], outcomes: readonly WorkOutcome[]): Settlement {
    const done: SealedWork[] = []
    const retry: { message: SealedWork; afterMs: number }[] = []
    const quarantine: { message: SealedWork; reason: string }[] = []
    for (const [at, message] of messages.entries()) {
      const outcome = outcomes[at] ?? 'retry'
      if (outcome === 'done') done.push(message)
      else if (outcome !== 'retry') quarantine.push({ message, reason: outcome.quarantine })
      else if (message.deliveries >= timing.tries) quarantine.push({ message, reason: `gave up after ${message.deliveries} tries` })
      // Before anybody else would reclaim it.
      else retry.push({ message, afterMs: backoff(message.deliveries - 1, timing.retryMs, timing.reclaimMs * 0.8) })
    }
    return { done, retry, quarantine }
  }

  async function settle(settlement: Settlement): Promise<void> {
    for (const { message, reason } of settlement.quarantine) {
      logger.error({ stream, position: message.position, reason }, 'a message of a work stream is set aside')
    }
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await source.settle(settlement)
      } catch (error) {
        if (signal.aborted) throw error
        await pause(backoff(attempt, 50, 1_000), signal)
      }
    }
  }

  async function work(taken: readonly SealedWork[]): Promise<void> {
    const good: SealedWork[] = []
    const refused: { message: SealedWork; reason: string }[] = []
    for (const message of taken) {
      // Past the last try: its consumers died with it, or it would have been settled before.
      if (message.deliveries > timing.tries) refused.push({ message, reason: `gave up after ${message.deliveries - 1} tries` })
      else if (isOurs(message)) good.push(message)
      else refused.push({ message, reason: 'not authentic' })
    }
    const sign = setInterval(() => void source.keep(taken).catch(() => {}), timing.reclaimMs / 3)
    try {
      const outcomes = good.length === 0 ? [] : await handle(good)
      if (outcomes === undefined) {
        await source.surrender(good)
        return await settle({ done: [], retry: [], quarantine: refused })
      }
      const sorted = sort(good, outcomes)
      await settle({ ...sorted, quarantine: [...refused, ...sorted.quarantine] })
    } finally {
      clearInterval(sign)
    }
  }

  async function run(): Promise<void> {
    const { batch, gatherMs = 0 } = consumer
    let failures = 0
    let most = Math.min(batch, FIRST_BATCH)
    let goOnAt = 0
    while (!signal.aborted) {
      try {
        const early = goOnAt - performance.now()
        if (early > 0) await pause(early, signal)
        const taken = await source.take(most, signal)
        if (failures > 0) logger.info({ stream }, 'a work stream can be read again')
        failures = 0
        if (taken.length === 0) continue
        // After a full batch there is more, and nothing to wait for.
        goOnAt = taken.length < most ? performance.now() + gatherMs : 0
        most = nextSize(taken, batch)
        await work(taken)
      } catch (error) {
        if (signal.aborted) return
        if (failures === 0) logger.warn({ err: error, stream }, 'a work stream cannot be read; trying again')
        await pause(backoff(failures, 50, 1_000), signal)
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
