import { AMOUNT, type Budget, type BudgetLimit, formatAmount, isCurrency, isId, type Operation, parseAmount } from '@caracal/core'
import type { BudgetFields } from '@caracal/postgres'
import type { Fault } from './check-provider.ts'
import type { BudgetDocument } from './document-schemas.ts'

/** What a budget is when a document leaves something out: in total; where it has a period, of the calendar. */
export function budgetFields(
  document: Pick<BudgetDocument, 'name' | 'limit' | 'per' | 'window'>,
  holder: BudgetFields['holder'],
): BudgetFields {
  const { name, limit, per, window } = document
  const span = per === undefined ? { window: 'total' as const, per: null } : { window: window ?? ('calendar' as const), per }
  return { name, holder, limit: limitOf(limit), ...span }
}

/** What of a budget does not hold together by itself. */
export function budgetFaults({ limit, per, window }: Pick<BudgetDocument, 'limit' | 'per' | 'window'>): readonly Fault[] {
  const faults: Fault[] = []
  if (per === undefined && window !== undefined) faults.push({ field: 'window', message: 'is for a budget with a period (per)' })
  if ('amount' in limit && !isCurrency(limit.currency))
    faults.push({ field: 'limit.currency', message: `${limit.currency} is no currency of ISO 4217` })
  return faults
}

/** What stays as it is while a budget lives: its balance is counted so. */
export function movedFaults(before: Budget, after: BudgetFields): readonly Fault[] {
  const tell = (field: string) => ({ field, message: 'stays as it is, because the balance is counted by it: make another budget' })
  return [
    ...(before.holder === after.holder ? [] : [tell('holder')]),
    ...(unitOf(before.limit) === unitOf(after.limit) ? [] : [tell('limit')]),
    ...(before.per === after.per ? [] : [tell('per')]),
    ...(before.window === after.window || before.per !== after.per ? [] : [tell('window')]),
  ]
}

/** Ids of those who can hold a budget and stand in no document. */
export function isHolderId(text: string): text is Exclude<BudgetFields['holder'], `app_${string}`> {
  return isId('session', text) || isId('delegation', text) || isId('subject', text)
}

/** What is wrong with the prices of operations. */
export function priceFaults(operations: readonly Operation[]): readonly Fault[] {
  return operations.flatMap(({ price }, at): Fault[] => {
    if (price === undefined) return []
    const field = (name: string) => `operations[${at}].price.${name}`
    const amount = AMOUNT.test(price.amount) ? parseAmount(price.amount) : undefined
    return [
      ...(isCurrency(price.currency) ? [] : [{ field: field('currency'), message: `${price.currency} is no currency of ISO 4217` }]),
      ...(amount === 0n ? [{ field: field('amount'), message: 'must be more than nothing: leave the price out' }] : []),
    ]
  })
}

/** Prices in their one spelling: the second apply of the same document must find no difference. */
export function withPlainPrices(operations: readonly Operation[]): readonly Operation[] {
  return operations.map((operation) =>
    operation.price === undefined ? operation : { ...operation, price: { ...operation.price, amount: plain(operation.price.amount) } },
  )
}

function limitOf(limit: BudgetDocument['limit']): BudgetLimit {
  return 'calls' in limit ? { calls: limit.calls } : { amount: plain(limit.amount), currency: limit.currency }
}

function plain(amount: string): string {
  const micros = parseAmount(amount)
  return micros === undefined ? amount : formatAmount(micros)
}

function unitOf(limit: BudgetLimit): string {
  return 'calls' in limit ? 'calls' : limit.currency
}
