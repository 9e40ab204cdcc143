import { type Budget, type BudgetId, type BudgetStanding, parseAmount, type UnixMillis, type ZoneId } from '@caracal/core'
import { type Queryable, readSpans } from '@caracal/postgres'
import { standing } from './balance.ts'
import { type SpanRule, spanAt } from './span.ts'

/** How these budgets of a zone stand at `now`, in one statement. */
export async function readStandings(
  db: Queryable,
  zone: ZoneId,
  budgets: readonly Budget[],
  now: UnixMillis,
): Promise<ReadonlyMap<BudgetId, BudgetStanding>> {
  const spans = await readSpans(
    db,
    zone,
    budgets.map((budget) => ({ budget: budget.id, since: spanAt(ruleOf(budget), now).since })),
  )
  const byBudget = Map.groupBy(spans, (span) => span.budget)
  return new Map(
    budgets.map((budget) => {
      const money = !('calls' in budget.limit)
      const most = 'calls' in budget.limit ? BigInt(budget.limit.calls) : (parseAmount(budget.limit.amount) ?? 0n)
      return [budget.id, standing({ ...ruleOf(budget), most, money }, byBudget.get(budget.id) ?? [], now)] as const
    }),
  )
}

function ruleOf({ window, per }: Pick<Budget, 'window' | 'per'>): SpanRule {
  return { span: window, per }
}
