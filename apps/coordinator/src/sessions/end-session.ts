import { newId, ok, type Result, type Session, type UnixMillis } from '@caracal/core'
import { endSubtree, type Queryable, revoke, revokeDelegationsOfSessions, toRevocation } from '@caracal/postgres'
import { answer } from '@caracal/service'
import type { Change } from '../change/commit-change.ts'
import { showSession } from './session-body.ts'

/**
 * Ends a locked session and its whole subtree for good, with every delegation these handed out or held and all below those. The one
 * id published is enough: mandates of the subtree and of the delegations from it carry it (P-053). What has ended stays so.
 */
export async function endSession(
  tx: Queryable,
  session: Session,
  why: { readonly by: string; readonly reason: 'ended' | 'expired' | 'lease_expired' },
  now: UnixMillis,
): Promise<Result<Change>> {
  const { zone, id } = session
  const rows = await endSubtree(tx, zone, id, now)
  const self = rows.find((row) => row.id === id)
  if (self === undefined) return ok({ answer: answer(200, showSession(session, 'ended')), event: null, changed: [], revocations: [] })
  const ended = rows.map((row) => row.id)
  const delegations = await revokeDelegationsOfSessions(tx, zone, ended, now)
  const { record } = await revoke(
    tx,
    { id: newId('revocation', now), zone, kind: 'session', target: id, reason: why.reason, by: why.by },
    now,
  )
  return ok({
    answer: answer(200, showSession(self, 'ended')),
    event: {
      type: 'session.ended',
      target: { kind: 'session', id },
      details: { cause: why.reason, sessions: rows.length, delegations: delegations.length },
    },
    changed: [
      ...ended.map((one) => ({ kind: 'session' as const, id: one })),
      ...delegations.map((one) => ({ kind: 'delegation' as const, id: one.id })),
    ],
    revocations: [toRevocation(record)],
  })
}
