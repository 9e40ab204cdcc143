import {
  formatAmount,
  type Money,
  ok,
  parseAmount,
  type Refusal,
  type RequestId,
  type Result,
  refuse,
  type UnixMillis,
  type ZoneId,
} from '@caracal/core'
import {
  type Charge,
  forgetSpans,
  type HeldPart,
  type LockedBudget,
  lockBudgets,
  type NewUsage,
  type Queryable,
  readBook,
  readSlices,
  type Span,
  takeCharges,
  writeBook,
  writeSlices,
} from '@caracal/postgres'
import { Balances } from './balance.ts'
import type {
  ChargeAnswer,
  ChargeOrder,
  HeldSlice,
  HoldOrder,
  ReleaseOrder,
  Reserved,
  ReserveOrder,
  ReserveRefusal,
  SettleOrder,
  SpendOrder,
} from './charge-order.ts'
import { firstOfEach, Slices, slicesOf } from './slices.ts'
import { spanAt } from './span.ts'

export type GroupContext = {
  readonly zone: ZoneId
  readonly now: UnixMillis
  /** How long a reservation stands at least; one that asks for longer has it, up to the most. Milliseconds. */
  readonly expirationMs: number
  readonly mostMs: number
}

type Taken = Charge & { readonly expired: boolean }

/**
 * Works through orders of one zone in one transaction (P-045). Budgets are locked in the order of their ids: charges of one budget are
 * one after another, in however many processes. What is given back comes first and is there for what is taken. Of several orders that
 * end the same charge the first does. What points spent of what they hold is counted before calls are charged, and what they may hold
 * after it. Answers in the order of the orders.
 */
export async function workGroup(tx: Queryable, orders: readonly ChargeOrder[], context: GroupContext): Promise<readonly ChargeAnswer[]> {
  const { zone, now } = context
  const reserves = orders.filter((order) => order.act === 'reserve')
  const spends = firstOfEach(orders.filter((order) => order.act === 'spend'))
  const holds = orders.filter((order) => order.act === 'hold')
  const wanted = slicesOf([...spends.values(), ...holds])
  const taken = await takeCharges(
    tx,
    zone,
    orders.flatMap((order) => (order.act === 'reserve' || order.act === 'hold' ? [] : [order.request])),
  )
  const budgets = await lockBudgets(tx, zone, {
    holders: [...new Set(reserves.flatMap(({ holders }) => holders))],
    ids: [...new Set([...taken.flatMap(({ held }) => held), ...wanted].map(({ budget }) => budget))],
  })
  const inBook = new Set(taken.map(({ request }) => request))
  const { standing, spans } = await readBook(tx, zone, {
    // A call that was spent may have been charged too, by an order whose answer was lost.
    requests: orders.flatMap((order) =>
      order.act === 'hold' || (order.act !== 'spend' && inBook.has(order.request)) ? [] : [order.request],
    ),
    spans: budgets.map((budget) => ({ budget: budget.id, since: spanAt(budget, now).since })),
  })
  const balances = new Balances(spans, now)
  const slices = new Slices(await readSlices(tx, zone, wanted), budgets, balances, now)

  const usage = new Map<RequestId, NewUsage>()
  const ends = new Map<RequestId, SettleOrder | ReleaseOrder | SpendOrder>()
  for (const order of orders)
    if (order.act !== 'reserve' && order.act !== 'hold' && !ends.has(order.request)) ends.set(order.request, order)
  for (const charge of taken) giveBack(balances, charge, ends.get(charge.request), usage, now)
  for (const [request, order] of spends)
    if (standing.get(request) !== 'settled' && !usage.has(request)) usage.set(request, slices.spend(order))

  const byHolder = Map.groupBy(
    budgets.filter((budget) => budget.archived_at === null),
    ({ holder }) => holder as string,
  )
  const released = new Set(orders.flatMap((order) => (order.act === 'release' ? [order.request] : [])))
  const charges = new Map<RequestId, Charge>()
  const reserved = new Map<RequestId, Result<Reserved, ReserveRefusal>>()
  for (const order of reserves) {
    // Whoever asked gave up before it came to this, and is not there to settle it.
    const gone = released.has(order.request)
    const repeated = standing.has(order.request) || charges.has(order.request)
    if (gone) reserved.set(order.request, ok({ state: 'unmetered' }))
    else if (repeated) reserved.set(order.request, ok({ state: 'charged', expiresAt: expiryOf(order, context) }))
    else reserved.set(order.request, reserve(order, byHolder, balances, charges, context))
  }

  const held = new Map<HoldOrder, readonly HeldSlice[]>(holds.map((order) => [order, slices.hold(order)]))

  const { changed, begun } = balances.written()
  await writeBook(tx, zone, { changed, begun, charges: [...charges.values()], usage: [...usage.values()] })
  await writeSlices(tx, zone, slices.written())
  await forgetOver(tx, zone, budgets, begun, now)

  const byRequest = new Map(taken.map((charge) => [charge.request, charge]))
  return orders.map((order): ChargeAnswer => {
    if (order.act === 'hold') return { act: 'hold', slices: held.get(order) ?? [] }
    if (order.act === 'spend') {
      const counted =
        spends.get(order.request) === order && standing.get(order.request) !== 'settled' ? usage.get(order.request) : undefined
      return { act: 'spend', outcome: counted === undefined ? 'repeated' : counted.late ? 'late' : 'settled' }
    }
    const charge = byRequest.get(order.request)
    if (order.act === 'reserve') return { act: 'reserve', result: reserved.get(order.request) ?? ok({ state: 'unmetered' }) }
    const end = ends.get(order.request)
    if (order.act === 'release') return { act: 'release', outcome: charge !== undefined && end === order ? 'released' : 'unknown' }
    if (charge !== undefined && end === order) return { act: 'settle', outcome: charge.expired ? 'late' : 'settled' }
    const before = charge === undefined ? standing.get(order.request) === 'settled' : end?.act === 'settle'
    return { act: 'settle', outcome: before ? 'repeated' : 'unknown' }
  })
}

/** A charge that was settled becomes usage; one that was released leaves nothing. */
function giveBack(
  balances: Balances,
  charge: Taken,
  end: SettleOrder | ReleaseOrder | SpendOrder | undefined,
  usage: Map<RequestId, NewUsage>,
  now: UnixMillis,
): void {
  if (end?.act !== 'settle') {
    for (const part of charge.held) balances.settle(part, 0n, charge.expired)
    return
  }
  const actual = (end.actual === null || charge.currency === null ? undefined : parseAmount(end.actual)) ?? charge.amount
  for (const part of charge.held) balances.settle(part, part.money ? actual : part.amount, charge.expired)
  usage.set(charge.request, {
    request: charge.request,
    ...charge.what,
    amount: actual,
    currency: charge.currency,
    budgets: charge.held.map(({ budget }) => budget),
    late: charge.expired,
    at: charge.reservedAt,
    settledAt: now,
  })
}

/** All budgets that count the call have room for it, or none of them pays. */
function reserve(
  order: ReserveOrder,
  byHolder: ReadonlyMap<string, readonly LockedBudget[]>,
  balances: Balances,
  charges: Map<RequestId, Charge>,
  context: GroupContext,
): Result<Reserved, ReserveRefusal> {
  const { zone, now } = context
  const { price, request, what } = order
  const concerned = [...new Set(order.holders)].flatMap((holder) => byHolder.get(holder) ?? [])
  const foreign = price === null ? undefined : concerned.find(({ currency }) => currency !== null && currency !== price.currency)
  if (foreign !== undefined) return refuse('budget_currency', undefined, { currency: foreign.currency })
  const paying = concerned.filter(({ currency }) => currency === null || price !== null)
  if (paying.length === 0) return order.required ? refuse('budget_required') : ok({ state: 'unmetered' })

  const cost = costOf(price)
  const asked = (budget: LockedBudget) => (budget.currency === null ? 1n : cost)
  const short = paying.filter((budget) => balances.remaining(budget) < asked(budget))
  if (short.length > 0) return exceeded(short, balances)
  const held = paying.map((budget): HeldPart => balances.reserve(budget, asked(budget)))
  const expiresAt = expiryOf(order, context)
  charges.set(request, { zone, request, what, held, amount: cost, currency: price?.currency ?? null, reservedAt: now, expiresAt })
  return ok({ state: 'charged', expiresAt })
}

/** Of several the one with the least left. */
function exceeded(short: readonly LockedBudget[], balances: Balances): Refusal<'budget_exceeded'> {
  const [budget] = [...short].sort((a, b) => (balances.remaining(a) < balances.remaining(b) ? -1 : 1))
  if (budget === undefined) throw new Error('a budget without room is one of those that pay')
  const left = balances.remaining(budget)
  const remaining = left < 0n ? 0n : left
  const resets = balances.resetsAt(budget)
  return refuse('budget_exceeded', undefined, {
    remaining: budget.currency === null ? String(remaining) : formatAmount(remaining),
    ...(budget.currency === null ? { unit: 'calls' } : { unit: budget.currency }),
    ...(resets === null ? {} : { resets_at: new Date(resets).toISOString() }),
  })
}

function costOf(price: Money | null): bigint {
  if (price === null) return 0n
  const cost = parseAmount(price.amount)
  if (cost === undefined) throw new RangeError('a price is checked before it is charged')
  return cost
}

function expiryOf({ ttl = 0 }: ReserveOrder, { now, expirationMs, mostMs }: GroupContext): UnixMillis {
  return now + Math.min(Math.max(expirationMs, ttl * 1000), mostMs)
}

/** A clock of another process may be this far behind: spans that it still charges to stay. Milliseconds. */
const SLOW_CLOCK = 3_600_000

/** A new span is begun a few times an hour at most: then those of its budget that are over are forgotten. */
async function forgetOver(
  tx: Queryable,
  zone: ZoneId,
  budgets: readonly LockedBudget[],
  begun: readonly Span[],
  now: UnixMillis,
): Promise<void> {
  const fresh = new Set(begun.map(({ budget }) => budget))
  await forgetSpans(
    tx,
    zone,
    budgets.filter(({ id }) => fresh.has(id)).map((budget) => ({ budget: budget.id, since: spanAt(budget, now - SLOW_CLOCK).since })),
  )
}
