import { type DelegationId, newId, ok, type Result, refuse, type UnixMillis, type ZoneId } from '@caracal/core'
import {
  findDelegation,
  findSession,
  lockDelegations,
  revoke as publishRevocation,
  type Queryable,
  revokeDelegationSubtree,
  toRevocation,
} from '@caracal/postgres'
import { answer } from '@caracal/service'
import type { Caller } from '../callers/caller.ts'
import type { Change } from '../change/commit-change.ts'
import { showDelegation } from './delegation-body.ts'
import { isParty, mayRevoke } from './party.ts'

/**
 * Revokes a delegation and everything below it, for good. Its id is published: mandates of the branch carry it, siblings do not (P-053).
 * What is revoked stays so.
 */
export async function revokeDelegation(
  tx: Queryable,
  zone: ZoneId,
  id: DelegationId,
  caller: Caller,
  now: UnixMillis,
): Promise<Result<Change>> {
  const found = await findDelegation(tx, zone, id)
  if (found === undefined || !isParty(caller, found)) return refuse('not_found')
  const holder = found.to === null ? undefined : await findSession(tx, zone, found.to)
  if (!mayRevoke(caller, found, holder)) return refuse('forbidden')
  // Whoever revokes an ancestor at the same time goes first or waits.
  await lockDelegations(tx, zone, found.lineage.slice(0, -1))
  const rows = await revokeDelegationSubtree(tx, zone, id, now)
  const self = rows.find((row) => row.id === id)
  if (self === undefined) {
    return ok({ answer: answer(200, showDelegation({ ...found, state: 'revoked' })), event: null, changed: [], revocations: [] })
  }
  const { record } = await publishRevocation(
    tx,
    { id: newId('revocation', now), zone, kind: 'delegation', target: id, reason: 'revoked', by: caller.by },
    now,
  )
  return ok({
    answer: answer(200, showDelegation(self)),
    event: { type: 'delegation.revoked', target: { kind: 'delegation', id }, details: { delegations: rows.length } },
    changed: rows.map((row) => ({ kind: 'delegation', id: row.id })),
    revocations: [toRevocation(record)],
  })
}
