import { type BudgetId, parseAmount, type RequestId, type UnixMillis } from '@caracal/core'
import type { BudgetSlice, LockedBudget, NewUsage } from '@caracal/postgres'
import type { Balances } from './balance.ts'
import type { HeldSlice, HoldOrder, SpendOrder, WantedSlice } from './charge-order.ts'
import { overAt } from './span.ts'

/** Who held something of a budget and said nothing for so long after its end is not waited for any more. Milliseconds. */
export const SILENT_MS = 7 * 86_400_000

/** A point may ask for this much of what is left at most. Percent. */
export const MOST_SHARE = 50

/** Slices of enforcement points while a group of orders is worked through, and what of them has to be written. */
export class Slices {
  readonly #budgets: ReadonlyMap<BudgetId, LockedBudget>
  readonly #balances: Balances
  readonly #now: UnixMillis
  readonly #slices: Map<string, BudgetSlice>
  readonly #changed = new Set<string>()

  constructor(slices: readonly BudgetSlice[], budgets: readonly LockedBudget[], balances: Balances, now: UnixMillis) {
    this.#slices = new Map(slices.map((slice) => [keyOf(slice), slice]))
    this.#budgets = new Map(budgets.map((budget) => [budget.id, budget]))
    this.#balances = balances
    this.#now = now
  }

  /**
   * Counts a call that went out on what its point held: that becomes less by the price, what was spent more by what the call cost. Of a
   * slice that is not waited for any more all was counted already. Gives the usage of the call.
   */
  spend({ point, parts, amount, actual, what, request, currency, at: said }: SpendOrder): NewUsage {
    const at = Math.min(said, this.#now)
    const cost = (actual === null || currency === null ? undefined : parseAmount(actual)) ?? amount
    let late = false
    for (const part of parts) {
      const budget = this.#budgets.get(part.budget)
      const slice = this.#slices.get(keyOf({ budget: part.budget, point }))
      if (budget === undefined || slice === undefined) {
        late = true
        continue
      }
      let held = part.amount
      if (held > slice.amount) held = slice.amount
      this.#balances.hold(budget, -held)
      this.#balances.spend(budget, at, part.money ? cost : part.amount)
      this.#put({ ...slice, amount: slice.amount - held })
    }
    const budgets = parts.map(({ budget }) => budget)
    return { request, ...what, amount: cost, currency, budgets, late, at, settledAt: this.#now }
  }

  /** What a point holds of each budget from now on: no more than it goes by, unless its share of what is left is more. */
  hold({ point, ttlMs, budgets }: HoldOrder): readonly HeldSlice[] {
    return budgets.map((wanted) => {
      const budget = this.#budgets.get(wanted.budget)
      if (budget === undefined) return { budget: wanted.budget, amount: 0n, target: 0n, turn: wanted.turn, stale: false }
      const before = this.#slices.get(keyOf({ budget: budget.id, point }))
      const amount = before?.amount ?? 0n
      if (before !== undefined && before.turn >= wanted.turn)
        return { budget: budget.id, amount, target: amount, turn: before.turn, stale: true }
      const target = this.#share(budget, wanted, amount)
      const kept = amount < wanted.most ? amount : wanted.most
      const next = kept > target ? kept : target
      this.#balances.hold(budget, next - amount)
      const expiresAt = this.#now + ttlMs
      this.#put({ budget: budget.id, point, amount: next, turn: wanted.turn, expiresAt, lostAt: lostAt(budget, expiresAt) })
      return { budget: budget.id, amount: next, target, turn: wanted.turn, stale: false }
    })
  }

  /** What has to be written. */
  written(): readonly BudgetSlice[] {
    return [...this.#changed].flatMap((key) => this.#slices.get(key) ?? [])
  }

  /** In whole calls of what one takes: a remainder would be of use to nobody. */
  #share(budget: LockedBudget, { share, unit }: WantedSlice, own: bigint): bigint {
    const left = this.#balances.remaining(budget) + own
    if (budget.archived_at !== null || left <= 0n || share <= 0) return 0n
    const part = (left * BigInt(Math.min(share, MOST_SHARE))) / 100n
    return part - (part % (unit > 0n ? unit : 1n))
  }

  #put(slice: BudgetSlice): void {
    const key = keyOf(slice)
    this.#slices.set(key, slice)
    this.#changed.add(key)
  }
}

/** When nothing that is spent until `expiresAt` counts any more, or its holder was silent for too long. */
function lostAt(budget: LockedBudget, expiresAt: UnixMillis): UnixMillis {
  const silent = expiresAt + SILENT_MS
  return Math.min(silent, overAt(budget, expiresAt) ?? silent)
}

/** Which slices these orders are about. */
export function slicesOf(orders: readonly (SpendOrder | HoldOrder)[]): readonly Pick<BudgetSlice, 'budget' | 'point'>[] {
  const found = new Map<string, Pick<BudgetSlice, 'budget' | 'point'>>()
  for (const order of orders) {
    for (const { budget } of order.act === 'spend' ? order.parts : order.budgets) {
      const slice = { budget, point: order.point }
      found.set(keyOf(slice), slice)
    }
  }
  return [...found.values()]
}

/** Of several orders about the same request the first counts. */
export function firstOfEach(orders: readonly SpendOrder[]): ReadonlyMap<RequestId, SpendOrder> {
  const first = new Map<RequestId, SpendOrder>()
  for (const order of orders) if (!first.has(order.request)) first.set(order.request, order)
  return first
}

function keyOf({ budget, point }: Pick<BudgetSlice, 'budget' | 'point'>): string {
  return `${budget} ${point}`
}
