import type { Seconds } from '@caracal/core'

export type RateBucketsOptions = {
  /** 0 = no limit. */
  readonly perSecond: number
  /** Calls that may come at once; one second's worth. */
  readonly burst?: number
  /** Buckets held at most. Beyond that one that was not used for long is forgotten, which only ever forgives. */
  readonly capacity?: number
  /** Milliseconds. */
  readonly now?: () => number
}

/** Entries that are looked at when room is needed: that bounds the cost of one call. */
const LOOKED_AT = 16

/**
 * Token buckets of one kind, one number each: when the bucket is full again (GCRA). Taking costs a lookup and no timer; they
 * need no store, so that a service answers without one (P-118), and N replicas allow at most N times the rate.
 */
export class RateBuckets {
  readonly #every: number
  readonly #burst: number
  readonly #capacity: number
  readonly #now: () => number
  readonly #fullAt = new Map<string, number>()

  constructor(options: RateBucketsOptions) {
    this.#every = options.perSecond > 0 ? 1_000 / options.perSecond : 0
    this.#burst = Math.max(1, options.burst ?? options.perSecond)
    this.#capacity = options.capacity ?? 50_000
    this.#now = options.now ?? (() => performance.now())
  }

  /** Buckets held at the moment. */
  get size(): number {
    return this.#fullAt.size
  }

  /** 0 = go ahead, and it counts; otherwise seconds to wait, and it does not count. */
  take(key: string): Seconds {
    if (this.#every === 0) return 0
    const now = this.#now()
    const held = this.#fullAt.get(key)
    const wait = this.#wait(held, now)
    if (wait > 0) return wait
    if (held === undefined) this.#makeRoom(now)
    this.#fullAt.set(key, Math.max(held ?? now, now) + this.#every)
    return 0
  }

  /** What `take` would say, without counting. */
  waits(key: string): Seconds {
    return this.#every === 0 ? 0 : this.#wait(this.#fullAt.get(key), this.#now())
  }

  #wait(fullAt: number | undefined, now: number): Seconds {
    if (fullAt === undefined || fullAt <= now) return 0
    // Half an interval of slack: sums of fractions must not cost anybody a call.
    const over = fullAt - now - (this.#burst - 0.5) * this.#every
    return over > 0 ? over / 1_000 : 0
  }

  #makeRoom(now: number): void {
    if (this.#fullAt.size < this.#capacity) return
    let looked = 0
    for (const [key, fullAt] of this.#fullAt) {
      this.#fullAt.delete(key)
      if (fullAt <= now || ++looked === LOOKED_AT) return
      // Still in use: it goes to the end of the line.
      this.#fullAt.set(key, fullAt)
    }
  }
}
