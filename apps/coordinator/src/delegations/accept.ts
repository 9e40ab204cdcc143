import { type DelegationId, ok, type Result, refuse, type SessionId, type UnixMillis, type ZoneId } from '@caracal/core'
import { joinLineage } from '@caracal/enforcement'
import { acceptDelegation, findDelegation, lockDelegations, lockLineage, type Queryable } from '@caracal/postgres'
import { answer } from '@caracal/service'
import { type Caller, reaches } from '../callers/caller.ts'
import type { Change } from '../change/commit-change.ts'
import { standing } from '../sessions/standing.ts'
import { standingChain } from './chain.ts'
import { showDelegation } from './delegation-body.ts'
import { isParty } from './party.ts'

/**
 * Binds an offer to one session of the application it was made to. Refused unless the session, the offer and everything above both are
 * alive, and together no deeper than a mandate can carry. Accepting it again with the same session changes nothing.
 */
export async function accept(
  tx: Queryable,
  at: { readonly zone: ZoneId; readonly id: DelegationId; readonly session: SessionId },
  caller: Caller,
  now: UnixMillis,
): Promise<Result<Change>> {
  const { zone, id } = at
  const offer = await findDelegation(tx, zone, id)
  if (offer === undefined || !isParty(caller, offer)) return refuse('not_found')
  // Sessions are locked before delegations, ancestors before what is below: everybody does.
  const lineage = await lockLineage(tx, zone, at.session)
  const session = lineage.at(-1)
  if (session === undefined || !reaches(caller, session) || session.application !== offer.toApplication) return refuse('session_not_usable')
  const alive = standing(lineage, now)
  if (!alive.ok) return alive
  const above = await lockDelegations(tx, zone, offer.lineage.slice(0, -1))
  const accepted = await acceptDelegation(tx, { zone, id, to: at.session }, now)
  if (!accepted.ok) {
    const current = await findDelegation(tx, zone, id)
    const repeated = current?.state === 'active' && current.to === at.session
    return repeated ? ok({ answer: answer(200, showDelegation(current)), event: null, changed: [], revocations: [] }) : accepted
  }
  const delegation = accepted.value
  const chain = [...above, delegation]
  const stands = chain.length === offer.lineage.length ? await standingChain(tx, zone, chain, now) : refuse('delegation_not_usable')
  if (!stands.ok) return stands
  const { lineage: ids } = delegation
  const joined = joinLineage({ session, delegation: { lineage: ids, fromLineage: chain.flatMap((link) => link.fromLineage) } })
  if (!joined.ok) return joined
  return ok({
    answer: answer(200, showDelegation(delegation)),
    event: { type: 'delegation.accepted', target: { kind: 'delegation', id }, details: { session: at.session, from: delegation.from } },
    changed: [{ kind: 'delegation', id }],
    revocations: [],
  })
}
