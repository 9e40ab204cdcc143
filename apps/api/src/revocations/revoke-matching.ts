import {
  type ApplicationId,
  matchesPattern,
  ok,
  type ResourceId,
  type Result,
  type Revocation,
  refuse,
  type Seconds,
  type UnixMillis,
  type ZoneId,
} from '@caracal/core'
import {
  type AuthorityFilter,
  endSessionsWhere,
  findApplication,
  listResources,
  lockAuthority,
  type Queryable,
  revokeAll,
  revokeDelegationsWhere,
} from '@caracal/postgres'
import type { ChangeEvent } from '../change/commit-change.ts'

/** What is to end, at least one of it given; several narrow each other. */
export type RevocationFilter = {
  readonly application?: ApplicationId
  /** Identifiers of resources: literal, or a prefix ending in `*`. */
  readonly resource?: string
  readonly olderThan?: Seconds
}

export type MatchingOrder = { readonly zone: ZoneId; readonly filter: RevocationFilter; readonly reason: string; readonly by: string }

export type KilledMatching = {
  readonly revocations: readonly Revocation[]
  readonly events: readonly ChangeEvent[]
  readonly affects: Readonly<Record<'sessions' | 'delegations', number>>
}

/** Resources of a zone that a pattern is held against at once. */
const PAGE = 500

/**
 * Ends every session that matches with all that hangs on it, or, when a resource is named, revokes every delegation that grants something
 * at it (P-061). Complete when it commits: rows that others hold, or are about to write, are waited for. Done again it finds nothing.
 * Refuses `not_found` for an Application that the zone does not have. Mandates without a session end with their Application or Resource.
 */
export async function killMatching(tx: Queryable, order: MatchingOrder, now: UnixMillis): Promise<Result<KilledMatching, 'not_found'>> {
  const { zone, filter, reason, by } = order
  if (filter.application !== undefined && (await findApplication(tx, zone, filter.application)) === undefined) return refuse('not_found')
  await lockAuthority(tx)
  const authority: AuthorityFilter = {
    application: filter.application,
    before: filter.olderThan === undefined ? undefined : now - filter.olderThan * 1000,
  }
  let ended: Awaited<ReturnType<typeof endSessionsWhere>> = { roots: [], ended: [] }
  let delegations: Awaited<ReturnType<typeof revokeDelegationsWhere>>
  if (filter.resource === undefined) {
    ended = await endSessionsWhere(tx, zone, authority, now)
    delegations = await revokeDelegationsWhere(tx, zone, { sessions: ended.ended }, now)
  } else {
    const resources = await resourcesLike(tx, zone, filter.resource)
    delegations = await revokeDelegationsWhere(tx, zone, { ...authority, resources }, now)
  }
  // The delegations of ended sessions fall with the sessions' own ids.
  const published =
    filter.resource === undefined ? { kind: 'session' as const, ids: ended.roots } : { kind: 'delegation' as const, ids: delegations.roots }
  await revokeAll(tx, { zone, kind: published.kind, reason, by }, published.ids, now)
  const affects = { sessions: ended.ended.length, delegations: delegations.revoked }
  return ok({
    revocations: published.ids.map((id) => ({ v: 1, op: 'revoke', kind: published.kind, id, zone, at: now, reason })),
    events: [
      {
        zone,
        type: 'revocation.published',
        target: { kind: 'zone', id: zone },
        details: { filter: JSON.stringify(filter), reason, ...affects },
      },
    ],
    affects,
  })
}

async function resourcesLike(tx: Queryable, zone: ZoneId, pattern: string): Promise<readonly ResourceId[]> {
  const found: ResourceId[] = []
  for (let after: string | undefined; ; ) {
    const { items, next } = await listResources(tx, zone, { limit: PAGE, after })
    found.push(...items.filter(({ identifier }) => matchesPattern(pattern, identifier)).map(({ id }) => id))
    if (next === null) return found
    after = next
  }
}
