import { type BudgetId, type BudgetStanding, formatAmount, type UnixMillis } from '@caracal/core'
import type { HeldPart, LockedBudget, Span } from '@caracal/postgres'
import { resetsAt, type SpanRule, spanAt } from './span.ts'

/**
 * What enforcement points hold of a budget is a span that begins after all others: it counts in every window, whenever that may be
 * spent, until it has been said when.
 */
export const SLICES_AT: UnixMillis = Date.UTC(9999, 0, 1)

/** Balances of locked budgets while a group of charges is worked through, and what of them has to be written. */
export class Balances {
  readonly #now: UnixMillis
  readonly #spans = new Map<BudgetId, Map<UnixMillis, Span>>()
  /** Spans that are in the book already. */
  readonly #known: ReadonlySet<string>
  readonly #taken = new Map<string, Span>()
  readonly #given = new Map<string, Span>()

  constructor(spans: readonly Span[], now: UnixMillis) {
    this.#now = now
    this.#known = new Set(spans.map(keyOf))
    for (const span of spans) this.#put(span)
  }

  /** What is left of a budget; below zero where a call cost more than was reserved. */
  remaining(budget: LockedBudget): bigint {
    const { since } = spanAt(budget, this.#now)
    let left = BigInt(budget.most)
    for (const span of this.#spans.get(budget.id)?.values() ?? []) {
      if (span.startsAt >= since) left -= span.spent + span.reserved
    }
    return left
  }

  /** When there will be more of it again. */
  resetsAt(budget: LockedBudget): UnixMillis | null {
    const { since } = spanAt(budget, this.#now)
    return resetsAt(budget, this.#now, firstOf([...(this.#spans.get(budget.id)?.values() ?? [])], since))
  }

  /** What enforcement points hold of it becomes so much more, or less. */
  hold(budget: LockedBudget, change: bigint): void {
    if (change !== 0n) this.#change(this.#taken, { budget: budget.id, startsAt: SLICES_AT, spent: 0n, reserved: change })
  }

  /** Counts what was spent at `at` of what an enforcement point held, where that still counts. */
  spend(budget: LockedBudget, at: UnixMillis, spent: bigint): void {
    const { startsAt } = spanAt(budget, at)
    if (startsAt >= spanAt(budget, this.#now).since) this.#change(this.#taken, { budget: budget.id, startsAt, spent, reserved: 0n })
  }

  /** Takes provisionally from the span of now. */
  reserve(budget: LockedBudget, amount: bigint): HeldPart {
    const { startsAt } = spanAt(budget, this.#now)
    this.#change(this.#taken, { budget: budget.id, startsAt, spent: 0n, reserved: amount })
    return { budget: budget.id, startsAt, amount, money: budget.currency !== null }
  }

  /** Gives back what was held, unless it expired before, and counts what was spent. In the span that it was taken from. */
  settle(part: HeldPart, spent: bigint, expired: boolean): void {
    this.#change(this.#given, { budget: part.budget, startsAt: part.startsAt, spent, reserved: expired ? 0n : -part.amount })
  }

  /** What has to be written: changes of spans that are there, and spans that begin now. */
  written(): { readonly changed: readonly Span[]; readonly begun: readonly Span[] } {
    const changed = new Map(this.#given)
    const begun: Span[] = []
    for (const [key, taken] of this.#taken) {
      if (this.#known.has(key)) changed.set(key, sum(changed.get(key), taken))
      else begun.push(taken)
    }
    return { changed: [...changed.values()], begun }
  }

  #put(span: Span): void {
    const spans = this.#spans.get(span.budget) ?? new Map<UnixMillis, Span>()
    this.#spans.set(span.budget, spans.set(span.startsAt, span))
  }

  #change(changes: Map<string, Span>, change: Span): void {
    const key = keyOf(change)
    changes.set(key, sum(changes.get(key), change))
    const known = this.#spans.get(change.budget)?.get(change.startsAt)
    // A span that was not read does not count any more: only what is taken now makes one.
    if (known !== undefined || changes === this.#taken) this.#put(sum(known, change))
  }
}

/** How a budget stands by the spans that count. */
export function standing(
  rule: SpanRule & { readonly most: bigint; readonly money: boolean },
  spans: readonly Span[],
  now: UnixMillis,
): BudgetStanding {
  const { since } = spanAt(rule, now)
  const counting = spans.filter((span) => span.startsAt >= since)
  const spent = counting.reduce((total, span) => total + span.spent, 0n)
  const reserved = counting.reduce((total, span) => (span.startsAt === SLICES_AT ? total : total + span.reserved), 0n)
  const held = counting.find((span) => span.startsAt === SLICES_AT)?.reserved ?? 0n
  const left = rule.most - spent - reserved - held
  const text = (amount: bigint) => (rule.money ? formatAmount(amount) : String(amount))
  return {
    spent: text(spent),
    reserved: text(reserved),
    held: text(held),
    remaining: text(left < 0n ? 0n : left),
    resetsAt: resetsAt(rule, now, firstOf(spans, since)),
  }
}

/** Where the first span begins of which something counts. */
function firstOf(spans: readonly Span[], since: UnixMillis): UnixMillis | undefined {
  const counting = spans.filter((span) => span.startsAt >= since && span.startsAt !== SLICES_AT && isUsed(span))
  return counting.length === 0 ? undefined : Math.min(...counting.map((span) => span.startsAt))
}

function keyOf({ budget, startsAt }: Pick<Span, 'budget' | 'startsAt'>): string {
  return `${budget} ${startsAt}`
}

function isUsed({ spent, reserved }: Span): boolean {
  return spent > 0n || reserved > 0n
}

function sum(before: Span | undefined, change: Span): Span {
  if (before === undefined) return change
  return { ...before, spent: before.spent + change.spent, reserved: before.reserved + change.reserved }
}
