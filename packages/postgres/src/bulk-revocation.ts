import { type ApplicationId, type DelegationId, newId, type ResourceId, type SessionId, type UnixMillis, type ZoneId } from '@caracal/core'
import { type RawBuilder, sql } from 'kysely'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'

/** Which sessions or delegations; what is not given does not matter. */
export type AuthorityFilter = {
  /** Its sessions; delegations from it or to it. */
  readonly application?: ApplicationId | undefined
  /** Made before. */
  readonly before?: UnixMillis | undefined
  /** Delegations that grant something at one of these. */
  readonly resources?: readonly ResourceId[] | undefined
}

/**
 * Nobody writes or locks a session or delegation from here until the transaction ends, and whoever did before has ended: what matches
 * afterwards is all there is. Readers do not wait. For what must leave no survivor and is rare.
 */
export async function lockAuthority(tx: Queryable): Promise<void> {
  await sql`lock table sessions, delegations in exclusive mode`.execute(tx)
}

/** Ends the sessions that match and everything below each, under `lockAuthority`. `roots` are the ids that cover all that `ended`. */
export async function endSessionsWhere(
  tx: Queryable,
  zone: ZoneId,
  { application, before }: AuthorityFilter,
  now: UnixMillis,
): Promise<{ readonly roots: readonly SessionId[]; readonly ended: readonly SessionId[] }> {
  const { rows } = await sql<{ id: SessionId; lineage: readonly SessionId[] }>`
    select id, lineage from sessions where zone = ${zone} and state <> 'ended'
    ${application === undefined ? sql`` : sql`and application = ${application}`}
    ${before === undefined ? sql`` : sql`and created_at < ${timestamp(before)}`}`.execute(tx)
  if (rows.length === 0) return { roots: [], ended: [] }
  const roots = rootsOf(rows)
  const ended = await sql<{ id: SessionId }>`
    update sessions set state = 'ended', ended_at = ${timestamp(now)}, version = version + 1, updated_at = ${timestamp(now)}
    where zone = ${zone} and state <> 'ended' and ${anyOf(sql`lineage`, roots)} returning id`.execute(tx)
  return { roots, ended: ended.rows.map(({ id }) => id) }
}

/** Revokes the delegations that match, or hang on one of these sessions, and everything below each, under `lockAuthority`. */
export async function revokeDelegationsWhere(
  tx: Queryable,
  zone: ZoneId,
  which: AuthorityFilter | { readonly sessions: readonly SessionId[] },
  now: UnixMillis,
): Promise<{ readonly roots: readonly DelegationId[]; readonly revoked: number }> {
  const { rows } = await sql<{ id: DelegationId; lineage: readonly DelegationId[] }>`
    select id, lineage from delegations where zone = ${zone} and state <> 'revoked' and ${conditionOf(which)}`.execute(tx)
  if (rows.length === 0) return { roots: [], revoked: 0 }
  const roots = rootsOf(rows)
  const revoked = await sql`
    update delegations set state = 'revoked', version = version + 1, updated_at = ${timestamp(now)}
    where zone = ${zone} and state <> 'revoked' and ${anyOf(sql`lineage`, roots)}`.execute(tx)
  return { roots, revoked: Number(revoked.numAffectedRows ?? 0) }
}

/** One revocation for each target that is not revoked yet, with its reason, in one statement. */
export async function revokeAll(
  tx: Queryable,
  what: { readonly zone: ZoneId; readonly kind: 'session' | 'delegation'; readonly reason: string; readonly by: string },
  targets: readonly string[],
  now: UnixMillis,
): Promise<void> {
  if (targets.length === 0) return
  const ids = targets.map(() => newId('revocation', now))
  await sql`
    insert into revocations (id, zone, kind, target, at, reason, revoked_by)
    select id, ${what.zone}, ${what.kind}, target, ${timestamp(now)}, ${what.reason}, ${what.by}
    from unnest(${ids}::text[], ${targets}::text[]) as new (id, target)
    on conflict (zone, kind, target) where lifted_at is null do nothing`.execute(tx)
}

function conditionOf(which: AuthorityFilter | { readonly sessions: readonly SessionId[] }): RawBuilder<boolean> {
  if ('sessions' in which)
    return sql<boolean>`(${anyOf(sql`from_lineage`, which.sessions)} or to_session = any (${which.sessions}::text[]))`
  const { application, before, resources } = which
  return sql<boolean>`true
    ${application === undefined ? sql`` : sql`and (from_application = ${application} or to_application = ${application})`}
    ${before === undefined ? sql`` : sql`and created_at < ${timestamp(before)}`}
    ${resources === undefined ? sql`` : sql`and exists (select from jsonb_array_elements(grants) as one (g) where g->>'resource' = any (${resources}::text[]))`}`
}

/** Whether one of many ids stands in an array column: hashed, where `&&` would compare each with each. */
function anyOf(column: RawBuilder<unknown>, ids: readonly string[]): RawBuilder<boolean> {
  return sql<boolean>`exists (select from unnest(${column}) as above (id) where above.id = any (${ids}::text[]))`
}

/** Those that have none of the others above them: their ids reach everything below. */
function rootsOf<I extends string>(rows: readonly { readonly id: I; readonly lineage: readonly I[] }[]): readonly I[] {
  const ids = new Set(rows.map(({ id }) => id))
  return rows.filter(({ id, lineage }) => !lineage.some((above) => above !== id && ids.has(above))).map(({ id }) => id)
}
