import type { WorkStream } from '@caracal/core'
import { backoff, pause } from '../pause.ts'
import type { StreamLogger } from '../stream-logger.ts'
import type { Streams } from '../streams.ts'
import type { AppendLog, LogCursor } from './append-log.ts'

export type DrainOptions = {
  readonly log: AppendLog
  readonly streams: Streams
  readonly stream: WorkStream
  readonly logger: StreamLogger
  /** Number up to which the ledger holds everything. */
  readonly confirmed: () => number
  /** What is sent in the place of a record that cannot be read. */
  readonly lost: (seq: number) => string
  /** How long the ledger may take before it is asked whether a message got lost on the way. */
  readonly resendMs: number
}

const RESEND_AT_MOST_EVERY_MS = 10 * 60_000
const LOOK_MS = 1_000

/**
 * Sends the spool to its work stream for as long as the process runs, oldest first, a page at a time. What the stream store
 * lost after it had acknowledged it is sent again (P-099): the ledger has not confirmed it and it is no longer on its way.
 */
export class Drain {
  readonly #options: DrainOptions
  readonly #stopping = new AbortController()
  readonly #ended: Promise<void>
  #cursor: LogCursor
  /** When what was sent last, coarsely: one entry a second at most. Oldest first. */
  #sent: { upTo: number; readonly at: number }[] = []
  #confirmedBefore = 0
  #checkAt = Number.POSITIVE_INFINITY
  #resends = 0
  #wake: () => void = () => {}

  constructor(options: DrainOptions) {
    this.#options = options
    this.#confirmedBefore = options.confirmed()
    this.#cursor = { seq: this.#confirmedBefore + 1, path: '', offset: 0 }
    this.#ended = this.#run()
  }

  /** Something new is durable. */
  notify(): void {
    this.#wake()
  }

  /** Durable records that the stream does not have yet. */
  get unsent(): number {
    return Math.max(0, this.#options.log.lastSeq - this.#cursor.seq + 1)
  }

  /** Resolves when everything is sent, or after `ms`. */
  async flush(ms: number): Promise<void> {
    const deadline = performance.now() + ms
    while (this.unsent > 0 && performance.now() < deadline) {
      this.#wake()
      await pause(Math.min(10, Math.max(1, deadline - performance.now())), this.#stopping.signal)
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#wake()
    await this.#ended
  }

  async #run(): Promise<void> {
    const { logger } = this.#options
    const { signal } = this.#stopping
    let failures = 0
    while (!signal.aborted) {
      try {
        const sent = await this.#sendPage()
        if (failures > 0 && sent) logger.info({ unsent: this.unsent }, 'the spool is drained again')
        if (sent) failures = 0
        else await this.#idle(signal)
        await this.#checkForLoss()
      } catch (error) {
        if (signal.aborted) return
        if (failures === 0) logger.warn({ err: error, unsent: this.unsent }, 'the spool cannot be drained; evidence waits on the volume')
        await pause(backoff(failures, 50, 1_000), signal)
        failures += 1
      }
    }
  }

  async #sendPage(): Promise<boolean> {
    const { log, streams, stream, lost, confirmed } = this.#options
    if (this.#cursor.seq <= confirmed()) this.#cursor = { seq: confirmed() + 1, path: '', offset: 0 }
    const before = this.#cursor
    const { found, cursor } = await log.read(before)
    if (found.length === 0) {
      this.#cursor = cursor
      return cursor.path !== before.path || cursor.offset !== before.offset
    }
    await streams.append(
      stream,
      found.map((item) =>
        'lost' in item ? { partition: '', payload: lost(item.lost) } : { partition: item.partition, payload: item.payload },
      ),
    )
    this.#cursor = cursor
    this.#remember(cursor.seq - 1)
    return true
  }

  #remember(upTo: number): void {
    const now = performance.now()
    const last = this.#sent.at(-1)
    if (last && now - last.at < 1_000) last.upTo = upTo
    else this.#sent.push({ upTo, at: now })
    if (this.#checkAt === Number.POSITIVE_INFINITY) this.#checkAt = now + this.#options.resendMs
  }

  /**
   * The oldest that is not confirmed was sent long ago: is it still on its way? Then everything in the stream is younger only
   * if ours is gone, and everything from there on is sent again, ever more rarely while that does not help.
   */
  async #checkForLoss(): Promise<void> {
    const { confirmed, resendMs, streams, stream, logger } = this.#options
    const sure = confirmed()
    const now = performance.now()
    if (sure > this.#confirmedBefore) {
      this.#confirmedBefore = sure
      this.#resends = 0
      this.#checkAt = now + resendMs
      while (this.#sent[0] && this.#sent[0].upTo <= sure) this.#sent.shift()
    }
    const oldest = this.#sent[0]
    if (!oldest) {
      this.#checkAt = Number.POSITIVE_INFINITY
      return
    }
    if (now < this.#checkAt || now - oldest.at < resendMs) return
    this.#checkAt = now + resendMs
    const { oldestPendingSeconds } = await streams.health(stream)
    // A second for the coarseness of what is remembered, one for the clocks.
    if (oldestPendingSeconds * 1000 + 2_000 >= now - oldest.at && oldestPendingSeconds > 0) return
    this.#resends += 1
    this.#checkAt = now + Math.min(resendMs * 2 ** this.#resends, RESEND_AT_MOST_EVERY_MS)
    logger.warn({ from: sure + 1, to: this.#cursor.seq - 1 }, 'evidence was lost on its way to the ledger; it is sent again')
    this.#cursor = { seq: sure + 1, path: '', offset: 0 }
    this.#sent = []
  }

  #idle(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        this.#wake = () => {}
        resolve()
      }
      const timer = setTimeout(done, Math.min(LOOK_MS, this.#options.resendMs / 4)).unref()
      if (signal.aborted) done()
      else this.#wake = done
    })
  }
}
