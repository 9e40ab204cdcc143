import { ok, type Result, refuse, type Session, type SessionId, type ZoneId } from '@caracal/core'
import { findSession, lockLineage, type Queryable, toSession } from '@caracal/postgres'
import { type Caller, reaches } from '../callers/caller.ts'

/** A session locked for a change, with everything above it locked against one (root first). */
export type LockedSession = { readonly session: Session; readonly above: readonly Session[] }

/**
 * Locks rows from the top: ancestors shared, the session for itself. Changes of an ancestor and of its descendant thus come one
 * after the other, and neither waits for a sibling or for the zone (P-043). Not found: it does not exist or is not the caller's.
 */
export async function lockForChange(
  tx: Queryable,
  zone: ZoneId,
  id: SessionId,
  caller: Caller,
): Promise<Result<LockedSession, 'not_found'>> {
  const found = await findSession(tx, zone, id)
  if (found === undefined || !reaches(caller, found)) return refuse('not_found')
  const above = found.parent === null ? [] : await lockLineage(tx, zone, found.parent)
  const row = await tx
    .selectFrom('sessions')
    .selectAll()
    .where('zone', '=', zone)
    .where('id', '=', id)
    .forUpdate()
    .executeTakeFirstOrThrow()
  return ok({ session: toSession(row), above })
}
