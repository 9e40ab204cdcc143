import {
  type ApplicationId,
  newId,
  ok,
  type Result,
  refuse,
  type Seconds,
  type Session,
  type SessionId,
  type UnixMillis,
  type ZoneId,
} from '@caracal/core'
import { insertSession, lockLineage, type Queryable } from '@caracal/postgres'
import { type Caller, reaches } from '../callers/caller.ts'
import { limitReached, type SessionLimits } from './limits.ts'
import { standing } from './standing.ts'

/** What is asked for. A task has a TTL; a service a lease, and an absolute end that is far away unless said. */
export type SessionRequest = {
  readonly application: ApplicationId
  readonly parent: SessionId | null
  readonly labels: readonly string[]
} & (
  | { readonly kind: 'task'; readonly ttl: Seconds }
  | { readonly kind: 'service'; readonly lease: Seconds; readonly ttl: Seconds | undefined }
)

/** A session lives at most so long, and a service unless it says otherwise. */
export const LONGEST_SESSION: Seconds = 30 * 86_400

export const LEASE_SECONDS = { least: 5, most: 3_600, usual: 60 } as const

/**
 * Starts a session below a parent that is the caller's, of the same application and alive through its whole lineage, locked so that
 * it stays so until the commit. The end is clamped to that of everything above. More than the limits is `limit_reached`.
 */
export async function startSession(
  tx: Queryable,
  limits: SessionLimits,
  zone: ZoneId,
  caller: Caller,
  request: SessionRequest,
  now: UnixMillis,
): Promise<Result<Session>> {
  const { application, labels } = request
  const above = request.parent === null ? [] : await lockLineage(tx, zone, request.parent)
  const parent = above.at(-1)
  let end = now + (request.ttl ?? LONGEST_SESSION) * 1000
  if (request.parent !== null) {
    if (parent === undefined || !reaches(caller, parent) || parent.application !== application)
      return refuse('session_not_usable', 'parent')
    const alive = standing(above, now)
    if (!alive.ok) return alive
    // A lease above moves on; the absolute ends do not.
    end = Math.min(end, ...above.map((session) => session.expiresAt))
  }
  const full = await limitReached(tx, limits, { zone, application, parent: parent?.id ?? null, depth: above.length + 1 }, now)
  if (full !== null) return full
  const id = newId('session', now)
  return ok(
    await insertSession(
      tx,
      {
        id,
        zone,
        application,
        kind: request.kind,
        parent: parent?.id ?? null,
        lineage: [...(parent?.lineage ?? []), id],
        labels,
        subject: parent?.subject ?? null,
        expiresAt: end,
        lease: request.kind === 'task' ? null : { generation: 1, expiresAt: Math.min(end, now + request.lease * 1000) },
      },
      now,
    ),
  )
}
