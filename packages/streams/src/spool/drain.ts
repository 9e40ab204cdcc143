import type { WorkStream } from '@caracal/core'
import { MAX_GROUP_EVENTS, MAX_MESSAGE_BYTES } from '../evidence/evidence-payload.ts'
import { backoff, pause } from '../pause.ts'
import type { StreamLogger } from '../stream-logger.ts'
import type { Streams } from '../streams.ts'
import type { AppendLog } from './append-log.ts'
import type { LogCursor, LogPage } from './log-page.ts'
import type { SpoolRecord } from './segment.ts'

export type DrainOptions = {
  readonly log: AppendLog
  readonly streams: Streams
  readonly stream: WorkStream
  readonly logger: StreamLogger
  readonly producer: string
  /** Number up to which the ledger holds everything. */
  readonly confirmed: () => number
  /** What is sent in the place of events that cannot be read. */
  readonly lost: (first: number, count: number) => string
  /** Whether a record that came back from the volume is still as it was sealed. */
  readonly isWhole: (record: SpoolRecord) => boolean
  /** How long the ledger may take before it is asked whether a message got lost on the way. */
  readonly resendMs: number
}

const RESEND_AT_MOST_EVERY_MS = 10 * 60_000
const LOOK_MS = 1_000
/** Under load what arrives within this time is sent together; after a pause the first is sent at once. */
const GATHER_MS = 10
/** Groups are sent as one message up to this length, far enough below what a message may be for characters of several bytes. */
const MESSAGE_CHARACTERS = MAX_MESSAGE_BYTES / 4

/**
 * Sends the spool to its work stream for as long as the process runs, oldest first, many groups in a message. What the stream store
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
  #sentAt = 0
  #hurried = false

  constructor(options: DrainOptions) {
    this.#options = options
    this.#confirmedBefore = options.confirmed()
    this.#cursor = { seq: this.#confirmedBefore + 1, place: null }
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
    this.#hurried = true
    while (this.unsent > 0 && performance.now() < deadline) {
      this.#wake()
      await pause(Math.min(10, Math.max(1, deadline - performance.now())), this.#stopping.signal)
    }
    this.#hurried = false
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
    const { log, streams, stream, confirmed } = this.#options
    if (this.#cursor.seq <= confirmed()) this.#cursor = { seq: confirmed() + 1, place: null }
    if (this.unsent === 0) return false
    const early = GATHER_MS - (performance.now() - this.#sentAt)
    if (early > 0 && !this.#hurried) await pause(early, this.#stopping.signal)
    const before = this.#cursor
    const page = await log.read(before)
    if (page.found.length === 0) {
      this.#cursor = page.cursor
      return page.cursor.place?.path !== before.place?.path || page.cursor.place?.offset !== before.place?.offset
    }
    this.#sentAt = performance.now()
    await streams.append(
      stream,
      this.#messages(page).map((payload) => ({ partition: this.#options.producer, payload })),
    )
    this.#cursor = page.cursor
    log.forget(page.cursor.seq - 1)
    this.#remember(page.cursor.seq - 1)
    return true
  }

  /** Whole groups, as they are. One that somebody changed on the volume goes alone, to be set aside, and its events are lost. */
  #messages({ found, remembered }: LogPage): string[] {
    const messages: string[] = []
    let message = ''
    const add = (payload: string) => {
      if (message !== '' && message.length + payload.length > MESSAGE_CHARACTERS) {
        messages.push(message)
        message = ''
      }
      message += payload
    }
    const addLost = (first: number, count: number) => {
      for (let done = 0; done < count; done += MAX_GROUP_EVENTS) {
        add(this.#options.lost(first + done, Math.min(MAX_GROUP_EVENTS, count - done)))
      }
    }
    for (const item of found) {
      if ('lost' in item) addLost(item.lost, item.count)
      else if (remembered || this.#options.isWhole(item)) add(item.payload)
      else {
        this.#options.logger.error({ first: item.first, count: item.count }, 'evidence was changed on the volume; it is set aside')
        messages.push(...(message === '' ? [] : [message]), item.payload)
        message = ''
        addLost(item.first, item.count)
      }
    }
    return message === '' ? messages : [...messages, message]
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
    this.#cursor = { seq: sure + 1, place: null }
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
