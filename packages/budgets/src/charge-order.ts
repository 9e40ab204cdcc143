import type { Money, RequestId, Result, Seconds, UnixMillis } from '@caracal/core'
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

export type ChargeOrder = ReserveOrder | SettleOrder | ReleaseOrder

export type ReserveRefusal = 'budget_exceeded' | 'budget_required' | 'budget_currency'

/**
 * Of a reservation: `charged` until `expiresAt`, or `unmetered` because no budget counts it. Of a settlement: `settled` in time, `late`
 * after it had expired, `repeated` when it was settled before, `unknown` when there is no such charge. Of a release: `released` or
 * `unknown`.
 */
export type ChargeAnswer =
  | { readonly act: 'reserve'; readonly result: Result<Reserved, ReserveRefusal> }
  | { readonly act: 'settle'; readonly outcome: 'settled' | 'late' | 'repeated' | 'unknown' }
  | { readonly act: 'release'; readonly outcome: 'released' | 'unknown' }

export type Reserved = { readonly state: 'charged'; readonly expiresAt: UnixMillis } | { readonly state: 'unmetered' }
