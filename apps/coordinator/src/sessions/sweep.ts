import { ok, type Result, type UnixMillis } from '@caracal/core'
import { dueSessions, inZone, purgeReceipts, type Queryable } from '@caracal/postgres'
import { answer, type Logger } from '@caracal/service'
import { type Change, commitChange } from '../change/commit-change.ts'
import type { CoordinatorDesk } from '../desk.ts'
import { endSession } from './end-session.ts'
import { lockForChange } from './lock-session.ts'
import { isOver } from './standing.ts'

/** Replicas' clocks may differ by so much: what one still renews another must not end. Milliseconds. */
const GRACE_MS = 5_000

/** Sessions marked in one round. */
const BATCH = 200

const NOBODY = { application: null, within: null, by: 'coordinator', actor: {} } as const

/** Marks one batch of sessions ended whose time or lease is over, each in its own transaction. Returns how many. */
export async function sweepOnce(desk: Pick<CoordinatorDesk, 'database' | 'streams' | 'evidence' | 'clock'>): Promise<number> {
  let swept = 0
  for (const { zone, id } of await dueSessions(desk.database.query, desk.clock() - GRACE_MS, BATCH)) {
    const end = async (tx: Queryable, now: UnixMillis): Promise<Result<Change>> => {
      const locked = await lockForChange(tx, zone, id, NOBODY)
      // Renewed, or ended by somebody else, since it was found.
      const due = locked.ok && locked.value.session.state !== 'ended' && isOver(locked.value.session, now - GRACE_MS)
      if (!due) return ok({ answer: answer(200, null), event: null, changed: [], revocations: [] })
      const { session } = locked.value
      swept += 1
      return endSession(tx, session, { by: NOBODY.by, reason: session.expiresAt <= now ? 'expired' : 'lease_expired' }, now)
    }
    await inZone(zone, () => commitChange(desk, { zone, actor: null, request: null }, end))
  }
  return swept
}

/** Sweeps each `intervalMs`, one round at a time. Authority ends by time without it: it only tidies up and tells. */
export function startSweeper(
  desk: Pick<CoordinatorDesk, 'database' | 'streams' | 'evidence' | 'clock'>,
  options: { readonly intervalMs: number; readonly logger: Logger; readonly onSwept: (sessions: number) => void },
): { readonly stop: () => Promise<void> } {
  let running: Promise<void> | null = null
  let stopped = false
  const round = async () => {
    try {
      let swept = 0
      do {
        swept = await sweepOnce(desk)
        options.onSwept(swept)
      } while (swept === BATCH && !stopped)
      await purgeReceipts(desk.database.query, desk.clock())
    } catch (error) {
      options.logger.warn({ err: error }, 'sessions could not be swept')
    }
  }
  const timer = setInterval(() => {
    running ??= round().finally(() => {
      running = null
    })
  }, options.intervalMs)
  timer.unref()
  return {
    async stop() {
      stopped = true
      clearInterval(timer)
      await running
    },
  }
}
