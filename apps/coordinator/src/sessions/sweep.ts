import { ok, type Result, type UnixMillis } from '@caracal/core'
import { dueSessions, inZone, type Job, type JobHold, type Queryable } from '@caracal/postgres'
import { answer } from '@caracal/service'
import { type Change, commitChange } from '../change/commit-change.ts'
import type { CoordinatorDesk } from '../desk.ts'
import { endSession } from './end-session.ts'
import { lockForChange } from './lock-session.ts'
import { isOver } from './standing.ts'

/** Replicas' clocks may differ by so much: what one still renews another must not end. Milliseconds. */
const GRACE_MS = 5_000

/** Sessions marked in one step. */
const BATCH = 200

const NOBODY = { application: null, within: null, by: 'coordinator', actor: {} } as const

type SweepDesk = Pick<CoordinatorDesk, 'database' | 'streams' | 'evidence' | 'clock'>

/**
 * Marks one batch of sessions ended whose time or lease is over, each in its own transaction as long as the job is held. `found` of
 * them looked so, `swept` were.
 */
export async function sweepOnce(desk: SweepDesk, hold: JobHold): Promise<{ readonly found: number; readonly swept: number }> {
  let swept = 0
  const due = await dueSessions(desk.database.query, desk.clock() - GRACE_MS, BATCH)
  for (const { zone, id } of due) {
    let ended = false
    const end = async (tx: Queryable, now: UnixMillis): Promise<Result<Change>> => {
      const locked = await lockForChange(tx, zone, id, NOBODY)
      // Renewed, or ended by somebody else, since it was found.
      ended = locked.ok && locked.value.session.state !== 'ended' && isOver(locked.value.session, now - GRACE_MS)
      if (!locked.ok || !ended) return ok({ answer: answer(200, null), event: null, changed: [], revocations: [] })
      const { session } = locked.value
      const change = await endSession(tx, session, { by: NOBODY.by, reason: session.expiresAt <= now ? 'expired' : 'lease_expired' }, now)
      await hold.demand(tx)
      return change
    }
    await inZone(zone, () => commitChange(desk, { zone, actor: null, request: null }, end))
    if (ended) swept += 1
  }
  return { found: due.length, swept }
}

/** Sweeps each `everyMs`. Authority ends by time without it: it only tidies up and tells. */
export function sweepJob(desk: SweepDesk, options: { readonly everyMs: number; readonly onSwept: (sessions: number) => void }): Job {
  return {
    name: 'sessions',
    everyMs: options.everyMs,
    async step(hold) {
      const { found, swept } = await sweepOnce(desk, hold)
      options.onSwept(swept)
      // A batch of which nothing could be ended would be found again.
      return found === BATCH && swept > 0
    },
  }
}
