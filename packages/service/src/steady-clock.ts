import type { Clock, Seconds, UnixMillis } from '@caracal/core'

/** Two clocks that differ by more than this do not agree (P-146). Milliseconds. */
const AGREE_MS = 5_000
/** A comparison that took longer than this says nothing. Milliseconds. */
const SLOW_MS = 4_000

/**
 * Wall-clock time that a jump of this machine's clock does not carry along. It goes on with the monotonic clock, and follows the
 * machine's clock as long as the store's clock agrees with it. A jump forward is believed until the store contradicts, because it
 * can only end things early; a jump back only when the store confirms it, because it would revive what has expired (P-056).
 */
export class SteadyClock {
  readonly #wall: Clock
  readonly #monotonic: () => number
  /** Wall-clock time at monotonic 0. */
  #origin: number
  #wallIsWrong = false
  #skew: Seconds | null = null

  constructor(wall: Clock = Date.now, monotonic: () => number = () => performance.now()) {
    this.#wall = wall
    this.#monotonic = monotonic
    this.#origin = wall() - monotonic()
  }

  /** The time. */
  readonly now: Clock = (): UnixMillis => {
    const held = this.#monotonic() + this.#origin
    return Math.floor(this.#wallIsWrong ? held : Math.max(held, this.#wall()))
  }

  /** By how much the machine's clock is ahead of the store's; null before the first comparison. */
  get skew(): Seconds | null {
    return this.#skew
  }

  /** Whether the machine's clock and the store's tell the same time; null before the first comparison. */
  get agrees(): boolean | null {
    return this.#skew === null ? null : Math.abs(this.#skew) * 1000 <= AGREE_MS
  }

  /** Milliseconds on the monotonic clock, for `compare`. */
  elapsed(): number {
    return this.#monotonic()
  }

  /** The store said that it is `at`: it was asked at `asked` of the monotonic clock and has just answered. */
  compare(at: UnixMillis, asked: number): void {
    const answered = this.#monotonic()
    if (answered - asked > SLOW_MS) return
    const theirs = at - (asked + answered) / 2
    const ours = this.#wall() - answered
    this.#skew = (ours - theirs) / 1000
    if (Math.abs(ours - theirs) <= AGREE_MS) {
      this.#origin = ours
      this.#wallIsWrong = false
    } else if (Math.abs(this.#origin - theirs) <= AGREE_MS) this.#wallIsWrong = true
  }
}
