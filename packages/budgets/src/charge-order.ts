import type { BudgetId, Money, RequestId, Result, Seconds, UnixMillis } from '@caracal/core'
import type { ChargedCall } from '@caracal/postgres'

/** What may be charged before a call goes out. */
export type ReserveOrder = {
  readonly act: 'reserve'
  readonly request: RequestId
  readonly what: ChargedCall
  /** Ids of everybody on whose authority the call is: each of their budgets pays. */
  readonly holders: readonly string[]
  /** What the operation costs; null: it counts as a call only. */
  readonly price: Money | null
  /** Refuse when no budget counts it. */
  readonly required: boolean
  /** The call may take this long: it is given back by itself no sooner, as far as the most allows. */
  readonly ttl?: Seconds | undefined
}

/** What it cost. `actual`: a decimal of the price's currency; null: the price. */
export type SettleOrder = { readonly act: 'settle'; readonly request: RequestId; readonly actual: string | null }

/** It had no effect. */
export type ReleaseOrder = { readonly act: 'release'; readonly request: RequestId }

/** What a call took of one budget: millionths of a unit of `money`, or calls. */
export type SpentPart = { readonly budget: BudgetId; readonly amount: bigint; readonly money: boolean }

/** A call that an enforcement point let out on what it held, while this store was away. It may be said more than once. */
export type SpendOrder = {
  readonly act: 'spend'
  readonly request: RequestId
  readonly point: string
  readonly what: ChargedCall
  readonly parts: readonly SpentPart[]
  /** The price, in millionths of `currency`; zero without one. */
  readonly amount: bigint
  readonly currency: string | null
  /** What it cost, as a settlement has it; null: the price. */
  readonly actual: string | null
  /** When it went out. */
  readonly at: UnixMillis
}

/** What an enforcement point wants to hold of a budget. */
export type WantedSlice = {
  readonly budget: BudgetId
  /** Larger than that of everything that the point asked about this budget before. */
  readonly turn: number
  /** The point goes by no more than this any longer, whatever is answered. */
  readonly most: bigint
  /** Of what is left, in percent; 0 lets it go. */
  readonly share: number
  /** What a call takes of it: less than that is of no use, and is not held. */
  readonly unit: bigint
}

/** What an enforcement point may spend while this store is away, for so long from now. */
export type HoldOrder = {
  readonly act: 'hold'
  readonly point: string
  /** Milliseconds. */
  readonly ttlMs: number
  readonly budgets: readonly WantedSlice[]
}

export type ChargeOrder = ReserveOrder | SettleOrder | ReleaseOrder | SpendOrder | HoldOrder

/**
 * What a point holds of a budget from now on. `target`: what it should hold at most; it says when it goes by that. `stale`: it asked
 * something later already, of that `turn`, and nothing changed.
 */
export type HeldSlice = {
  readonly budget: BudgetId
  readonly amount: bigint
  readonly target: bigint
  readonly turn: number
  readonly stale: boolean
}

export type ReserveRefusal = 'budget_exceeded' | 'budget_required' | 'budget_currency'

/**
 * Of a reservation: `charged` until `expiresAt`, or `unmetered` because no budget counts it. Of a settlement: `settled` in time, `late`
 * after it had expired, `repeated` when it was settled before, `unknown` when there is no such charge. Of a release: `released` or
 * `unknown`. Of a call that was spent: `settled`, `late` when what was held for it is not waited for any more, or `repeated`.
 */
export type ChargeAnswer =
  | { readonly act: 'reserve'; readonly result: Result<Reserved, ReserveRefusal> }
  | { readonly act: 'settle'; readonly outcome: 'settled' | 'late' | 'repeated' | 'unknown' }
  | { readonly act: 'release'; readonly outcome: 'released' | 'unknown' }
  | { readonly act: 'spend'; readonly outcome: 'settled' | 'late' | 'repeated' }
  | { readonly act: 'hold'; readonly slices: readonly HeldSlice[] }

export type Reserved = { readonly state: 'charged'; readonly expiresAt: UnixMillis } | { readonly state: 'unmetered' }
