import { ok, type Result, refuse, type Session, type SessionId, type UnixMillis } from '@caracal/core'

export type DeadReason = 'session_not_usable' | 'session_suspended' | 'lineage_expired'

/**
 * Whether a session carries authority at `now`, by itself and by everything above it, and until when at the latest. `lineage` is
 * root → session. Time and leases end authority with or without the sweeper (P-043); what has ended comes before what sleeps.
 */
export function standing(lineage: readonly Session[], now: UnixMillis): Result<UnixMillis, DeadReason> {
  if (lineage.length === 0 || lineage.some((session) => session.state === 'ended')) return refuse('session_not_usable')
  const end = Math.min(...lineage.flatMap(endsOf))
  if (end <= now) return refuse('lineage_expired')
  return lineage.some((session) => session.state === 'suspended') ? refuse('session_suspended') : ok(end)
}

/** Moments at which the session itself ends, whatever is above it. */
export function endsOf(session: Pick<Session, 'expiresAt' | 'lease'>): readonly UnixMillis[] {
  return session.lease === null ? [session.expiresAt] : [session.expiresAt, session.lease.expiresAt]
}

/** Whether its own time or lease is over. */
export function isOver(session: Pick<Session, 'expiresAt' | 'lease'>, now: UnixMillis): boolean {
  return endsOf(session).some((end) => end <= now)
}

/** The one word for people: what a session is now, its ancestors and the time considered. */
export type StandingWord = 'active' | 'suspended' | 'ended'

export function standingWord(session: Session, known: ReadonlyMap<SessionId, Session>, now: UnixMillis): StandingWord {
  const found = standing(
    session.lineage.flatMap((id) => known.get(id) ?? []),
    now,
  )
  if (found.ok) return 'active'
  return found.reason === 'session_suspended' ? 'suspended' : 'ended'
}
