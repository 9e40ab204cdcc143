import type { Clock, ZoneId } from '@caracal/core'
import {
  type Charge,
  changeSpans,
  chargesDue,
  type Database,
  expireCharges,
  forgetCharges,
  type Job,
  lockBudgets,
  type Queryable,
} from '@caracal/postgres'
import { zoneByZone } from './zone-by-zone.ts'

/** An expired charge is kept this long for a settlement that comes late. Milliseconds. */
const KEPT_MS = 7 * 86_400_000

export type ExpireOptions = {
  readonly database: Database
  readonly clock: Clock
  /** Milliseconds. */
  readonly everyMs: number
  /** Charges in one step at most. */
  readonly batch: number
  /** Writes what others learn of it, in the transaction of the expiry. */
  readonly onExpired?: (tx: Queryable, charges: readonly Charge[]) => Promise<void>
  /** Told of each batch that was committed. */
  readonly onDone?: (expired: number) => void
}

/**
 * The job that gives back what nobody settled in time, so that a process that died between reserving and settling blocks a budget no
 * longer than the charge stands; and forgets what expired a week ago.
 */
export function expireChargesJob(options: ExpireOptions): Job {
  const { database, clock, everyMs, batch } = options
  return {
    name: 'charges',
    everyMs,
    step: async ({ demand }) => {
      const now = clock()
      const due = await chargesDue(database.query, now, now - KEPT_MS, batch)
      const expire = async (tx: Queryable, zone: ZoneId, charges: typeof due) => {
        const requests = (state: 'reserved' | 'expired') => charges.flatMap((one) => (one.state === state ? [one.request] : []))
        const ran = await expireCharges(tx, zone, requests('reserved'), now)
        await giveBack(tx, zone, ran)
        await forgetCharges(tx, zone, requests('expired'))
        await options.onExpired?.(tx, ran)
        return ran.length
      }
      await zoneByZone({ database, demand }, due, expire, options.onDone)
      return due.length >= batch
    },
  }
}

/** In the order that everybody locks in: the charges are locked, then their budgets, then the spans. */
async function giveBack(tx: Queryable, zone: ZoneId, charges: readonly Charge[]): Promise<void> {
  const held = charges.flatMap((charge) => charge.held)
  if (held.length === 0) return
  await lockBudgets(tx, zone, { holders: [], ids: [...new Set(held.map(({ budget }) => budget))] })
  const sums = Map.groupBy(held, ({ budget, startsAt }) => `${budget} ${startsAt}`)
  await changeSpans(
    tx,
    zone,
    [...sums.values()].flatMap((parts) => {
      const [first] = parts
      if (first === undefined) return []
      return [{ ...first, spent: 0n, reserved: -parts.reduce((sum, { amount }) => sum + amount, 0n) }]
    }),
  )
}
