import { type ApplicationId, type Delegation, ok, type Result, refuse, type Session, type UnixSeconds } from '@caracal/core'
import { joinLineage, type LifetimeBound, type Lineage } from '@caracal/enforcement'
import type { AuthenticatedClient } from '../client/authenticate-client.ts'
import type { LineageRows } from '../zones/lineage-reader.ts'
import type { MintDesk } from './mint-desk.ts'
import type { TokenRequest } from './token-request.ts'
import type { Subject } from './verify-subject.ts'

/** Everything the mandate will stand on, found alive. */
export type LoadedLineage = {
  readonly ids: Lineage
  readonly session: Session | undefined
  /** The delegation used and those above it, root first. */
  readonly chain: readonly Delegation[]
  /** The session that each delegation of the chain came from. */
  readonly delegators: readonly { readonly application: ApplicationId; readonly session: Session }[]
  readonly bounds: readonly LifetimeBound[]
}

/**
 * Step 4: the session is the caller's, the delegation is held by a session of its lineage, and every link above them is active, unexpired
 * and not revoked. What memory refuses is read anew once before it is refused: a lease may have been renewed, a suspension lifted.
 */
export async function loadLineage(
  desk: MintDesk,
  at: { readonly client: AuthenticatedClient; readonly request: TokenRequest; readonly subject: Subject },
): Promise<Result<{ readonly lineage: LoadedLineage }>> {
  const { session, delegation } = at.request
  let rows: LineageRows = { session: undefined, delegation: undefined, sessions: new Map(), delegations: new Map(), cached: false }
  if (session !== undefined) {
    try {
      rows = await desk.lineages.read(at.client.zone.snapshot.id, session, delegation, 'cached')
      let checked = check(desk, at, rows)
      if (!checked.ok && rows.cached) {
        rows = await desk.lineages.read(at.client.zone.snapshot.id, session, delegation, 'anew')
        checked = check(desk, at, rows)
      }
      return checked
    } catch {
      return refuse('store_unavailable')
    }
  }
  return check(desk, at, rows)
}

function check(
  desk: MintDesk,
  { client, request, subject }: { readonly client: AuthenticatedClient; readonly request: TokenRequest; readonly subject: Subject },
  rows: LineageRows,
): Result<{ readonly lineage: LoadedLineage }> {
  // Whole seconds, as mandates have them: what is left of one buys nothing.
  const now = Math.floor(desk.clock() / 1000)
  const caller = client.application.id
  const bounds: LifetimeBound[] = []
  if (subject.parent !== undefined) bounds.push({ name: 'subject_token', end: subject.parent.claims.exp })
  if (subject.actor !== undefined) bounds.push({ name: 'actor_token', end: subject.actor.claims.exp })

  const { session, delegation } = rows
  if (request.session !== undefined && session?.application !== caller) return refuse('session_not_usable')
  const chain: Delegation[] = []
  if (request.delegation !== undefined) {
    if (delegation === undefined || delegation.toApplication !== caller) return refuse('delegation_not_usable')
    if (delegation.to === null || !session?.lineage.includes(delegation.to)) return refuse('delegation_not_usable')
    for (const id of delegation.lineage) {
      const link = rows.delegations.get(id)
      if (link === undefined) return refuse('delegation_not_usable')
      chain.push(link)
    }
  }

  const ids = joinLineage({
    session,
    delegation:
      delegation === undefined ? undefined : { lineage: delegation.lineage, fromLineage: chain.flatMap((link) => link.fromLineage) },
    parent: subject.parent?.claims,
  })
  if (!ids.ok) return ids
  if (desk.revocations.isRevoked([...ids.value.ses, ...ids.value.dlg, ...ids.value.mnd]) !== null) {
    const suspended = session?.state === 'suspended'
    return refuse(suspended ? 'session_suspended' : 'lineage_revoked')
  }

  for (const id of new Set([...(session?.lineage ?? []), ...chain.flatMap((link) => link.fromLineage)])) {
    const alive = sessionBounds(rows.sessions.get(id), now)
    if (!alive.ok) return alive
    bounds.push(...alive.value)
  }
  for (const link of chain) {
    if (link.state !== 'active') return refuse('delegation_not_usable')
    if (Math.floor(link.expiresAt / 1000) <= now) return refuse('lineage_expired', link.id)
    bounds.push({ name: link.id, end: link.expiresAt / 1000 })
  }
  const delegators: { application: ApplicationId; session: Session }[] = []
  for (const link of chain) {
    const from = rows.sessions.get(link.from)
    if (from === undefined || !client.zone.clients.has(link.fromApplication)) return refuse('delegation_not_usable')
    if (desk.revocations.isRevoked([link.fromApplication]) !== null) return refuse('lineage_revoked')
    delegators.push({ application: link.fromApplication, session: from })
  }
  return ok({ lineage: { ids: ids.value, session, chain, delegators, bounds } })
}

/** A session that carries authority at `now`, and when it ends at the latest. A lease ends authority by time, sweeper or not. */
function sessionBounds(session: Session | undefined, now: UnixSeconds): Result<readonly LifetimeBound[]> {
  if (session === undefined || session.state === 'ended') return refuse('session_not_usable')
  if (session.state === 'suspended') return refuse('session_suspended')
  const ends = [session.expiresAt, ...(session.lease === null ? [] : [session.lease.expiresAt])].map((ms) => Math.floor(ms / 1000))
  if (ends.some((end) => end <= now)) return refuse('lineage_expired', session.id)
  return ok(ends.map((end) => ({ name: session.id, end })))
}
