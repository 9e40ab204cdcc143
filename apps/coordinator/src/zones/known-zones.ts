import type { ZoneId } from '@caracal/core'
import type { ConfigurationFollower, ReplicaState } from '@caracal/enforcement'

/** Zones nobody here knows are asked for this often, whoever asks: made-up ids cost Postgres nothing more. Milliseconds. */
const PROBE_EVERY_MS = 500

/**
 * Whether there is such a zone. One that was made a moment ago is read at once instead of when its broadcast arrives.
 * Rejects when the store does not answer.
 */
export function knownZones(
  state: ReplicaState,
  follower: ConfigurationFollower,
  monotonic: () => number = () => performance.now(),
): (zone: ZoneId) => Promise<boolean> {
  let probedAt = Number.NEGATIVE_INFINITY
  return async (zone) => {
    if (state.zone(zone) !== undefined) return true
    if (monotonic() - probedAt < PROBE_EVERY_MS) return false
    probedAt = monotonic()
    await follower.load(zone)
    return state.zone(zone) !== undefined
  }
}
