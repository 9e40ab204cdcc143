import { type Delegation, ok, type Result, refuse, type Session, type UnixMillis, type ZoneId } from '@caracal/core'
import { findSessions, type Queryable } from '@caracal/postgres'
import { type DeadReason, standing } from '../sessions/standing.ts'

/** Until when a chain carries authority, and the session that each link came from, root first. */
export type StandingChain = { readonly end: UnixMillis; readonly delegators: readonly Session[] }

/**
 * Whether every delegation of a chain (root → leaf) is active, unexpired and came from a session that is still alive through its whole
 * lineage: the same links that a mint checks.
 */
export async function standingChain(
  db: Queryable,
  zone: ZoneId,
  chain: readonly Delegation[],
  now: UnixMillis,
): Promise<Result<StandingChain, 'delegation_not_usable' | DeadReason>> {
  const wanted = [...new Set(chain.flatMap((link) => link.fromLineage))]
  const sessions = new Map((await findSessions(db, zone, wanted)).map((session) => [session.id, session]))
  const delegators: Session[] = []
  let end = Number.POSITIVE_INFINITY
  for (const link of chain) {
    const from = sessions.get(link.from)
    if (link.state !== 'active' || from === undefined) return refuse('delegation_not_usable')
    if (link.expiresAt <= now) return refuse('lineage_expired')
    const alive = standing(
      link.fromLineage.flatMap((id) => sessions.get(id) ?? []),
      now,
    )
    if (!alive.ok) return alive
    delegators.push(from)
    end = Math.min(end, link.expiresAt, alive.value)
  }
  return ok({ end, delegators })
}
