import type { ApplicationId, BudgetId, DelegationId, SessionId, SubjectId, ZoneId } from '../id.ts'
import type { Money } from '../money.ts'
import type { UnixMillis } from '../time.ts'
import type { Stored } from './zone.ts'

/** Who a budget limits. */
export const BUDGET_HOLDERS = ['application', 'session', 'delegation', 'subject'] as const
export type BudgetHolder = ApplicationId | SessionId | DelegationId | SubjectId

export const BUDGET_PERIODS = ['hour', 'day', 'week', 'month'] as const
export type BudgetPeriod = (typeof BUDGET_PERIODS)[number]

/** `total`: for good. `calendar`: from the start of the hour, day, week (Monday) or month in UTC. `rolling`: the last so long; a month is 30 days. */
export type BudgetWindow =
  | { readonly window: 'total'; readonly per: null }
  | { readonly window: 'calendar' | 'rolling'; readonly per: BudgetPeriod }

/** In money of one currency, or in calls. */
export type BudgetLimit = Money | { readonly calls: number }

/** A limit on what its holder, and whatever stands below it, may spend. Everybody above pays for a child's call too. */
export type Budget = Stored &
  BudgetWindow & {
    readonly id: BudgetId
    readonly zone: ZoneId
    readonly name: string
    readonly holder: BudgetHolder
    readonly limit: BudgetLimit
  }

/** How a budget stands. Amounts are decimals of its currency, or whole calls. */
export type BudgetStanding = {
  /** What settled calls of the window cost. */
  readonly spent: string
  /** What calls on their way have taken provisionally. */
  readonly reserved: string
  /** What enforcement points hold, to spend it while the store is away. */
  readonly held: string
  /** Never below zero. */
  readonly remaining: string
  /** When the window ends, or in a rolling one when the first of what counts leaves it; null when nothing will. */
  readonly resetsAt: UnixMillis | null
}

/** What an enforcement point must know of a budget: that it concerns its holder. Balances stay in the store. */
export type HeldBudget = Pick<Budget, 'id' | 'holder'> & { readonly currency: string | null }
