import { type BudgetId, type BudgetStanding, formatAmount, type UnixMillis } from '@caracal/core'
import type { HeldPart, LockedBudget, Span } from '@caracal/postgres'
import { resetsAt, type SpanRule, spanAt } from './span.ts'

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
    const counting = [...(this.#spans.get(budget.id)?.values() ?? [])].filter((span) => span.startsAt >= since && isUsed(span))
    const first = counting.length === 0 ? undefined : Math.min(...counting.map((span) => span.startsAt))
    return resetsAt(budget, this.#now, first)
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
  const counting = spans.filter((span) => span.startsAt >= since && isUsed(span))
  const spent = counting.reduce((total, span) => total + span.spent, 0n)
  const reserved = counting.reduce((total, span) => total + span.reserved, 0n)
  const left = rule.most - spent - reserved
  const text = (amount: bigint) => (rule.money ? formatAmount(amount) : String(amount))
  const first = counting.length === 0 ? undefined : Math.min(...counting.map((span) => span.startsAt))
  return { spent: text(spent), reserved: text(reserved), remaining: text(left < 0n ? 0n : left), resetsAt: resetsAt(rule, now, first) }
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
