import {
  type Delegation,
  type DelegationId,
  newId,
  ok,
  type Result,
  refuse,
  type SessionId,
  type UnixMillis,
  type ZoneId,
} from '@caracal/core'
import { findDelegation, insertDelegation, lockDelegations, lockLineage, type Queryable } from '@caracal/postgres'
import { type Caller, reaches } from '../callers/caller.ts'
import { standing } from '../sessions/standing.ts'
import { standingChain } from './chain.ts'
import { narrowOffer, type Offer } from './narrow-offer.ts'

export type OfferRequest = Offer & { readonly from: SessionId; readonly parent: DelegationId | null }

/**
 * Offers authority from a session of the caller, or further from a delegation that this session or one above it holds. What it stands on
 * is locked and alive until the commit: a revocation that races it finds the new delegation or refuses it (P-038).
 */
export async function offerDelegation(
  tx: Queryable,
  zone: ZoneId,
  caller: Caller,
  request: OfferRequest,
  now: UnixMillis,
): Promise<Result<Delegation>> {
  const lineage = await lockLineage(tx, zone, request.from)
  const from = lineage.at(-1)
  if (from === undefined || !reaches(caller, from)) return refuse('session_not_usable', 'from')
  const alive = standing(lineage, now)
  if (!alive.ok) return alive

  const chain: Delegation[] = []
  let end = alive.value
  if (request.parent !== null) {
    const parent = await findDelegation(tx, zone, request.parent)
    const held = parent !== undefined && parent.toApplication === from.application && parent.to !== null && from.lineage.includes(parent.to)
    if (!held) return refuse('delegation_not_usable', 'parent')
    chain.push(...(await lockDelegations(tx, zone, parent.lineage)))
    if (chain.length !== parent.lineage.length) return refuse('delegation_not_usable', 'parent')
    const stands = await standingChain(tx, zone, chain, now)
    if (!stands.ok) return stands
    end = Math.min(end, stands.value.end)
  }

  const id = newId('delegation', now)
  const narrowed = narrowOffer(id, request, { from, chain, end }, now)
  if (!narrowed.ok) return narrowed
  return ok(
    await insertDelegation(
      tx,
      {
        id,
        zone,
        from: from.id,
        fromApplication: from.application,
        fromLineage: from.lineage,
        toApplication: request.toApplication,
        to: null,
        parent: request.parent,
        state: 'offered',
        ...narrowed.value,
      },
      now,
    ),
  )
}
