import { ok, type Result, refuse, type Seconds, type Session, type SessionId, type UnixMillis, type ZoneId } from '@caracal/core'
import { findSession, findSessions, type Queryable, renewLease, takeLease } from '@caracal/postgres'
import { answer } from '@caracal/service'
import { type Caller, reaches } from '../callers/caller.ts'
import type { Change } from '../change/commit-change.ts'
import { showSession } from './session-body.ts'
import { isOver, standingWord } from './standing.ts'

/**
 * Renews the lease that the caller holds with `generation`, also while the session is suspended. Another generation holds it, or it has
 * run out: `lease_lost`. Locks the one row only.
 */
export async function heartbeat(
  tx: Queryable,
  at: { readonly zone: ZoneId; readonly id: SessionId; readonly generation: number; readonly lease: Seconds },
  caller: Caller,
  now: UnixMillis,
): Promise<Result<Change>> {
  const found = await findService(tx, at.zone, at.id, caller)
  if (!found.ok) return found
  const expiresAt = Math.min(found.value.expiresAt, now + at.lease * 1000)
  const renewed = await renewLease(tx, { zone: at.zone, session: at.id, generation: at.generation, expiresAt }, now)
  return renewed.ok ? ok(await leased(tx, renewed.value, null, now)) : renewed
}

/**
 * Takes the lease over with the next generation: whoever held it before learns `lease_lost` at its next heartbeat (P-043). A lease
 * that has run out has ended the session's authority, and nothing brings that back.
 */
export async function takeOver(
  tx: Queryable,
  at: { readonly zone: ZoneId; readonly id: SessionId; readonly lease: Seconds },
  caller: Caller,
  now: UnixMillis,
): Promise<Result<Change>> {
  const found = await findService(tx, at.zone, at.id, caller)
  if (!found.ok) return found
  if (isOver(found.value, now)) return refuse('session_not_usable', 'its lease has run out')
  const expiresAt = Math.min(found.value.expiresAt, now + at.lease * 1000)
  const taken = await takeLease(tx, { zone: at.zone, session: at.id, expiresAt }, now)
  if (!taken.ok) return taken
  const event: Change['event'] = {
    type: 'session.leased',
    target: { kind: 'session', id: at.id },
    details: { generation: taken.value.lease?.generation ?? 0 },
  }
  return ok(await leased(tx, taken.value, event, now))
}

async function findService(tx: Queryable, zone: ZoneId, id: SessionId, caller: Caller): Promise<Result<Session>> {
  const found = await findSession(tx, zone, id)
  if (found === undefined || !reaches(caller, found)) return refuse('not_found')
  return found.lease === null ? refuse('session_not_usable', 'a task has no lease') : ok(found)
}

async function leased(tx: Queryable, session: Session, event: Change['event'], now: UnixMillis): Promise<Change> {
  const known = new Map((await findSessions(tx, session.zone, session.lineage)).map((one) => [one.id, one]))
  return {
    answer: answer(200, showSession(session, standingWord(session, known, now))),
    event,
    changed: [{ kind: 'session', id: session.id }],
    revocations: [],
  }
}
