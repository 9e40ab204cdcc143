import { type DelegationId, ok, type Result, refuse, type SessionId } from '@caracal/core'
import { type Authority, type Awaitable, authorityOf, type StandsOn, standOn } from '@caracal/enforcement'
import { infrastructureReason } from '@caracal/service'
import type { AuthenticatedClient } from '../client/authenticate-client.ts'
import type { LineageRows } from '../zones/lineage-reader.ts'
import type { MintDesk } from './mint-desk.ts'
import type { TokenRequest } from './token-request.ts'
import type { Subject } from './verify-subject.ts'

/** Everything the mandate will stand on, found alive, with the bounds of the tokens it is exchanged from; and whose authority it is. */
export type LoadedLineage = StandsOn & { readonly authority: Authority }

/**
 * Step 4: the session is the caller's, the delegation is held by a session of its lineage, and every link above them is active, unexpired
 * and not revoked. What memory refuses is read anew once before it is refused: a lease may have been renewed, a suspension lifted.
 */
export function loadLineage(desk: MintDesk, at: Standing): Awaitable<Result<{ readonly lineage: LoadedLineage }>> {
  const { session, delegation } = at.request
  return session === undefined ? check(desk, at, NO_ROWS) : loadRows(desk, at, session, delegation)
}

type Standing = { readonly client: AuthenticatedClient; readonly request: TokenRequest; readonly subject: Subject }

const NO_ROWS: LineageRows = { session: undefined, delegation: undefined, sessions: new Map(), delegations: new Map(), cached: false }

async function loadRows(
  desk: MintDesk,
  at: Standing,
  session: SessionId,
  delegation: DelegationId | undefined,
): Promise<Result<{ readonly lineage: LoadedLineage }>> {
  const zone = at.client.zone.snapshot.id
  try {
    const rows = await desk.lineages.read(zone, session, delegation, 'cached')
    const checked = check(desk, at, rows)
    if (checked.ok || !rows.cached) return checked
    return check(desk, at, await desk.lineages.read(zone, session, delegation, 'anew'))
  } catch (error) {
    return refuse(infrastructureReason(error) ?? 'store_unavailable')
  }
}

function check(desk: MintDesk, { client, request, subject }: Standing, rows: LineageRows): Result<{ readonly lineage: LoadedLineage }> {
  if (request.session !== undefined && rows.session === undefined) return refuse('session_not_usable')
  if (request.delegation !== undefined && rows.delegation === undefined) return refuse('delegation_not_usable')
  const caller = client.application.id
  const parent = subject.parent?.claims
  const stands = standOn(
    { ...rows, caller, parent },
    {
      now: desk.clock(),
      isRevoked: (ids) => desk.revocations.isRevoked(ids) !== null,
      knows: (application) => client.zone.clients.has(application),
    },
  )
  if (!stands.ok) return stands
  const bounds = [...stands.value.bounds]
  if (parent !== undefined) bounds.push({ name: 'subject_token', end: parent.exp })
  if (subject.actor !== undefined) bounds.push({ name: 'actor_token', end: subject.actor.claims.exp })
  return ok({ lineage: { ...stands.value, bounds, authority: authorityOf(caller, stands.value, parent) } })
}
