/** So many calls per principal and second, with a burst. */
export type RateClass = { readonly perSecond: number; readonly burst: number }

export type RateLimiter = {
  /** 0 = go ahead; otherwise seconds to wait. */
  take(rateClass: string, key: string): number
}

/** Buckets held at most: beyond that the least recently used go first, which only ever forgives. */
const MAX_BUCKETS = 50_000

/**
 * Token buckets of this replica. They need no store, so that the service answers without one (P-118); N replicas allow at most
 * N times the rate.
 */
export function createRateLimiter(classes: Readonly<Record<string, RateClass>>, now: () => number): RateLimiter {
  const buckets = new Map<string, { tokens: number; at: number }>()
  return {
    take(rateClass, key) {
      const rate = classes[rateClass]
      if (rate === undefined) return 0
      const name = `${rateClass} ${key}`
      const at = now()
      const held = buckets.get(name) ?? { tokens: rate.burst, at }
      const tokens = Math.min(rate.burst, held.tokens + ((at - held.at) / 1000) * rate.perSecond)
      buckets.delete(name)
      buckets.set(name, { tokens: tokens >= 1 ? tokens - 1 : tokens, at })
      if (buckets.size > MAX_BUCKETS) {
        const [oldest] = buckets.keys()
        if (oldest !== undefined) buckets.delete(oldest)
      }
      return tokens >= 1 ? 0 : (1 - tokens) / rate.perSecond
    },
  }
}
