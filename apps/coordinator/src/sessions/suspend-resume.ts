import { newId, ok, type Result, refuse, type Session, type SessionId, type UnixMillis, type ZoneId } from '@caracal/core'
import { lift, type Queryable, resumeSubtree, revoke, suspendSubtree, toRevocation } from '@caracal/postgres'
import { answer } from '@caracal/service'
import type { Caller } from '../callers/caller.ts'
import type { Change } from '../change/commit-change.ts'
import { lockForChange } from './lock-session.ts'
import { showSession } from './session-body.ts'
import { isOver, standing } from './standing.ts'

/**
 * Suspends a session and its whole subtree, whatever state lies between (P-041). Its id is published: mandates of the subtree carry
 * it. Suspending what is suspended by itself already changes nothing.
 */
export async function suspendSession(tx: Queryable, zone: ZoneId, id: SessionId, caller: Caller, now: UnixMillis): Promise<Result<Change>> {
  const locked = await lockForChange(tx, zone, id, caller)
  if (!locked.ok) return locked
  const { session, above } = locked.value
  if (session.state === 'ended' || isOver(session, now)) return refuse('session_not_usable', 'it has ended')
  const rows = await suspendSubtree(tx, zone, id, now)
  const self = rows.find((row) => row.id === id)
  if (self === undefined) return ok(unchanged(session, above, now))
  const { record } = await revoke(
    tx,
    { id: newId('revocation', now), zone, kind: 'session', target: id, reason: 'suspended', by: caller.by },
    now,
  )
  return ok({
    answer: shown(self, above, now),
    event: { type: 'session.suspended', target: { kind: 'session', id }, details: { sessions: rows.length } },
    changed: rows.map((row) => ({ kind: 'session', id: row.id })),
    revocations: [toRevocation(record)],
  })
}

/**
 * Lifts the suspension of a session. What is below it becomes active again unless it is suspended by itself or by something between.
 * Refused under a suspended ancestor (`session_suspended`) and for what has ended (`session_not_usable`).
 */
export async function resumeSession(tx: Queryable, zone: ZoneId, id: SessionId, caller: Caller, now: UnixMillis): Promise<Result<Change>> {
  const locked = await lockForChange(tx, zone, id, caller)
  if (!locked.ok) return locked
  const { session, above } = locked.value
  if (session.state === 'ended' || isOver(session, now)) return refuse('session_not_usable', 'it has ended')
  if (above.length > 0) {
    const alive = standing(above, now)
    if (!alive.ok) return alive
  }
  if (session.state === 'active') return ok(unchanged(session, above, now))
  const rows = await resumeSubtree(tx, zone, id, now)
  const self = rows.find((row) => row.id === id)
  if (self === undefined) return refuse('session_suspended')
  const lifted = await lift(tx, { zone, kind: 'session', target: id, by: caller.by }, now)
  return ok({
    answer: shown(self, above, now),
    event: { type: 'session.resumed', target: { kind: 'session', id }, details: { sessions: rows.length } },
    changed: rows.map((row) => ({ kind: 'session', id: row.id })),
    revocations: lifted === undefined ? [] : [toRevocation(lifted)],
  })
}

function unchanged(session: Session, above: readonly Session[], now: UnixMillis): Change {
  return { answer: shown(session, above, now), event: null, changed: [], revocations: [] }
}

function shown(session: Session, above: readonly Session[], now: UnixMillis) {
  const found = standing([...above, session], now)
  return answer(200, showSession(session, found.ok ? 'active' : found.reason === 'session_suspended' ? 'suspended' : 'ended'))
}
