import { type ApplicationId, type Refusal, refuse, type SessionId, type UnixMillis, type ZoneId } from '@caracal/core'
import { countLiveByApplication, type Queryable } from '@caracal/postgres'

/** How many sessions may live (P-042). */
export type SessionLimits = {
  readonly zone: number
  readonly application: number
  readonly children: number
  readonly depth: number
}

/** What of a limit is used. */
export type Headroom = Readonly<Record<'zone' | 'application', { readonly most: number; readonly used: number }>>

export async function readHeadroom(
  db: Queryable,
  limits: SessionLimits,
  zone: ZoneId,
  application: ApplicationId,
  now: UnixMillis,
): Promise<Headroom> {
  const live = await countLiveByApplication(db, zone, now)
  return {
    zone: { most: limits.zone, used: sumOf(live) },
    application: { most: limits.application, used: live.get(application) ?? 0 },
  }
}

/** Where a session would start. `depth` is its own, 1 = root. */
export type Place = { readonly application: ApplicationId; readonly parent: SessionId | null; readonly depth: number }

/**
 * What lives in a zone, counted without a lock on it (P-043): starts elsewhere at the same instant may pass a limit by their number.
 * What is started here is counted on.
 */
export type LiveCount = {
  zone: number
  readonly applications: Map<ApplicationId, number>
  readonly children: Map<SessionId, number>
}

export function liveCount(live: ReadonlyMap<ApplicationId, number>, children: ReadonlyMap<SessionId, number> = new Map()): LiveCount {
  return { zone: sumOf(live), applications: new Map(live), children: new Map(children) }
}

/** Counts one more session; when it cannot start there, says why instead. */
export function takeRoom(limits: SessionLimits, count: LiveCount, { application, parent, depth }: Place): Refusal<'limit_reached'> | null {
  const own = count.applications.get(application) ?? 0
  const siblings = parent === null ? 0 : (count.children.get(parent) ?? 0)
  if (depth > limits.depth) return reached('depth', limits.depth)
  if (own >= limits.application) return reached('sessions_per_application', limits.application)
  if (count.zone >= limits.zone) return reached('sessions_per_zone', limits.zone)
  if (parent !== null && siblings >= limits.children) return reached('children_per_session', limits.children)
  count.zone += 1
  count.applications.set(application, own + 1)
  if (parent !== null) count.children.set(parent, siblings + 1)
  return null
}

function reached(limit: string, most: number): Refusal<'limit_reached'> {
  return refuse('limit_reached', `${limit}: ${most}`, { limit, most })
}

function sumOf(live: ReadonlyMap<ApplicationId, number>): number {
  let sum = 0
  for (const one of live.values()) sum += one
  return sum
}
