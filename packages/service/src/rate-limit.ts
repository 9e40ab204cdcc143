import { RateBuckets } from './rate-buckets.ts'

/** So many calls per principal and second, with a burst. */
export type RateClass = { readonly perSecond: number; readonly burst: number }

export type RateLimiter = {
  /** 0 = go ahead; otherwise seconds to wait. */
  take(rateClass: string, key: string): number
}

/** The buckets of a replica, by rate class. A class that is not known has no limit. */
export function createRateLimiter(classes: Readonly<Record<string, RateClass>>, now: () => number): RateLimiter {
  const buckets = new Map(Object.entries(classes).map(([name, rate]) => [name, new RateBuckets({ ...rate, now })]))
  return { take: (rateClass, key) => buckets.get(rateClass)?.take(key) ?? 0 }
}
