import type { ApplicationId, SessionId, UnixMillis, ZoneId } from '@caracal/core'
import { countLiveByApplication, countLiveChildren, type Queryable } from '@caracal/postgres'
import { type LiveCount, liveCount, type SessionLimits } from './limits.ts'

/** So long a count of a zone far below its limits is good for further starts, in milliseconds. */
const GOOD_FOR_MS = 100
/** From this part of a limit on every start counts anew: what is refused is refused by what stands in the database. */
const NEAR = 0.8
/** Zones remembered; one that is busy is counted again before it is forgotten. */
const MOST_ZONES = 1_000

/**
 * How many sessions live in a zone, without counting them for each that starts: a count is good for a moment while it is far from
 * every limit, and what this replica starts meanwhile is added to it. Other replicas may start some in that moment.
 */
export function liveCounts(limits: SessionLimits) {
  const remembered = new Map<ZoneId, { readonly count: LiveCount; readonly at: number }>()

  const isFar = (count: LiveCount, applications: Iterable<ApplicationId>, more: number): boolean => {
    if (count.zone + more >= limits.zone * NEAR) return false
    for (const one of applications) if ((count.applications.get(one) ?? 0) + more >= limits.application * NEAR) return false
    return true
  }

  return {
    /** A count to take room from for `more` starts of these applications below these parents. */
    async read(
      tx: Queryable,
      zone: ZoneId,
      of: { readonly applications: ReadonlySet<ApplicationId>; readonly parents: readonly SessionId[]; readonly more: number },
      now: UnixMillis,
    ): Promise<LiveCount> {
      const children = await countLiveChildren(tx, zone, of.parents, now)
      const known = remembered.get(zone)
      if (known !== undefined && performance.now() - known.at < GOOD_FOR_MS && isFar(known.count, of.applications, of.more)) {
        for (const [parent, live] of children) known.count.children.set(parent, live)
        return known.count
      }
      const count = liveCount(await countLiveByApplication(tx, zone, now), children)
      remembered.delete(zone)
      remembered.set(zone, { count, at: performance.now() })
      const [oldest] = remembered.size > MOST_ZONES ? remembered.keys() : []
      if (oldest !== undefined) remembered.delete(oldest)
      return count
    },
  }
}

export type LiveCounts = ReturnType<typeof liveCounts>
