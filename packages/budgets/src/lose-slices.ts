import type { BudgetId, Clock, ZoneId } from '@caracal/core'
import {
  type Database,
  type Job,
  lockBudgets,
  type Queryable,
  readSlices,
  readSpans,
  removeSlices,
  slicesLost,
  writeBook,
} from '@caracal/postgres'
import { Balances } from './balance.ts'
import { spanAt } from './span.ts'
import { zoneByZone } from './zone-by-zone.ts'

/** What an enforcement point held and never said what it spent of. In millionths of `currency`, or calls; it counts as spent. */
export type LostSlice = {
  readonly zone: ZoneId
  readonly budget: BudgetId
  readonly point: string
  readonly amount: bigint
  readonly currency: string | null
}

export type LoseOptions = {
  readonly database: Database
  readonly clock: Clock
  /** Milliseconds. */
  readonly everyMs: number
  /** Slices in one step at most. */
  readonly batch: number
  /** Writes what others learn of it, in the transaction of the loss. */
  readonly onLost?: (tx: Queryable, slices: readonly LostSlice[]) => Promise<void>
}

/**
 * The job that waits no longer for enforcement points that held something of a budget and went silent. What they spent is not known, so
 * all of it counts as spent; where the window that it could have been spent in is over, it is simply forgotten.
 */
export function loseSlicesJob({ database, clock, everyMs, batch, onLost }: LoseOptions): Job {
  return {
    name: 'budget_slices',
    everyMs,
    step: async ({ demand }) => {
      const found = await slicesLost(database.query, clock(), batch)
      await zoneByZone({ database, demand }, found, async (tx, zone, slices) => {
        const lost = await lose(tx, zone, slices, clock())
        if (lost.length > 0) await onLost?.(tx, lost)
      })
      return found.length >= batch
    },
  }
}

async function lose(
  tx: Queryable,
  zone: ZoneId,
  which: readonly { readonly budget: BudgetId; readonly point: string }[],
  now: number,
): Promise<readonly LostSlice[]> {
  const budgets = await lockBudgets(tx, zone, { holders: [], ids: [...new Set(which.map(({ budget }) => budget))] })
  const byId = new Map(budgets.map((budget) => [budget.id, budget]))
  // Whoever came back in between holds it still.
  const slices = (await readSlices(tx, zone, which)).filter(({ lostAt }) => lostAt <= now)
  const spans = await readSpans(
    tx,
    zone,
    budgets.map((budget) => ({ budget: budget.id, since: spanAt(budget, now).since })),
  )
  const balances = new Balances(spans, now)
  const lost: LostSlice[] = []
  for (const { budget: id, point, amount, expiresAt } of slices) {
    const budget = byId.get(id)
    if (budget === undefined || amount === 0n) continue
    balances.hold(budget, -amount)
    if (spanAt(budget, expiresAt).startsAt < spanAt(budget, now).since) continue
    balances.spend(budget, expiresAt, amount)
    lost.push({ zone, budget: id, point, amount, currency: budget.currency })
  }
  const { changed, begun } = balances.written()
  await writeBook(tx, zone, { changed, begun, charges: [], usage: [] })
  await removeSlices(tx, zone, slices)
  return lost
}
