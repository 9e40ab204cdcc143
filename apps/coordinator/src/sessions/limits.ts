import { type ApplicationId, type Refusal, refuse, type SessionId, type UnixMillis, type ZoneId } from '@caracal/core'
import { countLiveSessions, type Queryable, timestamp } from '@caracal/postgres'

/** How many sessions may live (P-042). */
export type SessionLimits = {
  readonly zone: number
  readonly application: number
  readonly children: number
  readonly depth: number
}

/** What of a limit is used. Counted without a lock on the zone (P-043): starts at the same instant may pass it by their number. */
export type Headroom = Readonly<Record<'zone' | 'application', { readonly most: number; readonly used: number }>>

export async function readHeadroom(
  db: Queryable,
  limits: SessionLimits,
  zone: ZoneId,
  application: ApplicationId,
  now: UnixMillis,
): Promise<Headroom> {
  const used = await countLiveSessions(db, zone, application, now)
  return { zone: { most: limits.zone, used: used.zone }, application: { most: limits.application, used: used.application } }
}

/** Why one more session cannot start there; null when it can. `depth` is that of the new session, 1 = root. */
export async function limitReached(
  tx: Queryable,
  limits: SessionLimits,
  place: { readonly zone: ZoneId; readonly application: ApplicationId; readonly parent: SessionId | null; readonly depth: number },
  now: UnixMillis,
): Promise<Refusal<'limit_reached'> | null> {
  if (place.depth > limits.depth) return reached('depth', limits.depth)
  const { zone, application } = await readHeadroom(tx, limits, place.zone, place.application, now)
  if (application.used >= application.most) return reached('sessions_per_application', application.most)
  if (zone.used >= zone.most) return reached('sessions_per_zone', zone.most)
  if (place.parent === null) return null
  const children = await countChildren(tx, place.zone, place.parent, now)
  return children >= limits.children ? reached('children_per_session', limits.children) : null
}

function reached(limit: string, most: number): Refusal<'limit_reached'> {
  return refuse('limit_reached', `${limit}: ${most}`, { limit, most })
}

async function countChildren(tx: Queryable, zone: ZoneId, parent: SessionId, now: UnixMillis): Promise<number> {
  const { live } = await tx
    .selectFrom('sessions')
    .select((eb) => eb.fn.countAll<number>().as('live'))
    .where('zone', '=', zone)
    .where('parent', '=', parent)
    .where('state', '<>', 'ended')
    .where('expires_at', '>', timestamp(now))
    .executeTakeFirstOrThrow()
  return live
}
