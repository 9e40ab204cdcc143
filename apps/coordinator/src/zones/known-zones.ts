import type { ZoneId } from '@caracal/core'
import type { ConfigurationFollower, ReplicaState } from '@caracal/enforcement'
import { createRateLimiter } from '@caracal/service'

/** Zones nobody here knows are asked for so often, whoever asks: made-up ids cost Postgres nothing more. */
const PROBES = { perSecond: 10, burst: 50 }

/**
 * Whether there is such a zone. One that was made a moment ago is read at once instead of when its broadcast arrives.
 * Rejects when the store does not answer.
 */
export function knownZones(
  state: ReplicaState,
  follower: Pick<ConfigurationFollower, 'load'>,
  monotonic: () => number = () => performance.now(),
): (zone: ZoneId) => Promise<boolean> {
  const limiter = createRateLimiter({ probe: PROBES }, monotonic)
  return async (zone) => {
    if (state.zone(zone) !== undefined) return true
    if (limiter.take('probe', '') > 0) return false
    await follower.load(zone)
    return state.zone(zone) !== undefined
  }
}
