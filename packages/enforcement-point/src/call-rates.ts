import type { ApplicationId, Seconds } from '@caracal/core'
import { RateBuckets, sourceGroup } from '@caracal/service'

export type CallRates = {
  /**
   * Seconds that a call has to wait before anybody looks at its credential; 0 = go ahead. What is known to hold already passes: a
   * source that sends bad ones does not stop the good ones that are in use beside it.
   */
  readonly beforeProof: (source: string, isKnown: () => boolean) => Seconds
  /** The credential of this call did not hold. */
  readonly unproven: (source: string) => void
  /** Seconds that this Application has to wait; 0 = go ahead, and it counts. */
  readonly admit: (application: ApplicationId) => Seconds
  /** Buckets held at the moment. */
  readonly sources: () => number
  readonly applications: () => number
}

/** The limits of P-067: per source before any cryptography, per Application once the credential holds. Calls per second; 0 = none. */
export function callRates(options: {
  readonly perApplication: number
  readonly unprovenPerSource: number
  readonly now?: () => number
}): CallRates {
  const clock = options.now === undefined ? {} : { now: options.now }
  const sources = new RateBuckets({ perSecond: options.unprovenPerSource, ...clock })
  const applications = new RateBuckets({ perSecond: options.perApplication, ...clock })
  return {
    beforeProof(source, isKnown) {
      const wait = sources.waits(sourceGroup(source))
      return wait > 0 && !isKnown() ? wait : 0
    },
    unproven: (source) => void sources.take(sourceGroup(source)),
    admit: (application) => applications.take(application),
    sources: () => sources.size,
    applications: () => applications.size,
  }
}
