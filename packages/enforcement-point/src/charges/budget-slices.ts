import { type BudgetId, type ChargeReply, ChargesReply, type HeldBudget, parseAmount, type RequestId, type ZoneId } from '@caracal/core'
import type { ChargeRequest } from '@caracal/enforcement'
import type { InternalClient, Logger } from '@caracal/service'
import type { SpendJournal, SpentCall } from './spend-journal.ts'

export type SlicesOptions = {
  readonly client: Pick<InternalClient, 'call'>
  readonly journal: SpendJournal
  /** Budgets of a zone, as the replica knows them. */
  readonly budgetsOf: (zone: ZoneId) => readonly HeldBudget[]
  /** Of what is left of a budget, in percent. */
  readonly share: number
  /** How long is spent without an answer of the store. Milliseconds. */
  readonly ttlMs: number
  readonly logger: Logger
  /** Wall clock. Milliseconds. */
  readonly clock: () => number
  /** A clock that does not jump. Milliseconds. */
  readonly monotonic?: () => number
}

/** What this point holds of one budget: millionths of its currency's unit, or calls. */
type Slice = {
  readonly zone: ZoneId
  readonly budget: BudgetId
  /** No more than the store knows of. */
  held: bigint
  /** Of that what went out and was not counted by the store yet. */
  spent: bigint
  /** Counted by the store while it was asked: its answer may not know. */
  counted: bigint
  /** What it should hold at most, as the store said last. */
  target: bigint | null
  turn: number
  /** What a call takes of it at most, as far as seen. */
  unit: bigint
  /** On the clock that does not jump. */
  until: number
  usedAt: number
  renewAt: number
  noted: boolean
}

type Part = { readonly budget: BudgetId; readonly amount: bigint; readonly money: boolean }

/** How often it is looked at what is due. */
const ROUND_MS = 500
/** What is held follows what is left at this pace. */
const RENEW_MS = 10_000
/** Where the store says less, or something was refused. */
const SOON_MS = 1_000
/** A budget that no call was charged to for so long is let go. */
const IDLE_MS = 300_000
/** An answer may say that it was asked something later already. */
const LEAVE_TRIES = 3
/** Budgets of one order at most. */
const MOST_BUDGETS = 256

/**
 * Holds a part of what is left of each budget that calls of this point are charged to, taken from the store beside the calls, and spends
 * of it while the store is away (P-045). What the store gave to a point it gives to nobody else until the point has said what it spent:
 * so all that is spent anywhere, and all that is held, is never more than the limit. Spending ends when the slice is used up, or when the
 * store has not answered for `ttlMs`.
 */
export class BudgetSlices {
  readonly #options: SlicesOptions
  readonly #monotonic: () => number
  readonly #slices = new Map<BudgetId, Slice>()
  readonly #byHolder = new WeakMap<readonly HeldBudget[], ReadonlyMap<string, readonly HeldBudget[]>>()
  readonly #timer: NodeJS.Timeout
  #asking: Promise<void> | undefined
  #leaving = false

  constructor(options: SlicesOptions) {
    const { journal, monotonic = () => performance.now() } = options
    this.#options = options
    this.#monotonic = monotonic
    // What an earlier process held is spent no more, but for what it let out already.
    for (const [budget, zone] of journal.held) this.#add(zone, budget, Number.NEGATIVE_INFINITY).noted = true
    for (const call of journal.unsettled.values()) {
      if (call.point === journal.point)
        this.#each(call, (slice, amount) => {
          slice.spent += amount
        })
    }
    for (const slice of this.#slices.values()) slice.held = slice.spent
    this.#timer = setInterval(() => void this.renew(), ROUND_MS).unref()
  }

  /** Budgets of which something is held now. */
  get size(): number {
    return [...this.#slices.values()].filter(({ held }) => held > 0n).length
  }

  /** What an earlier process let out and the store has not counted. */
  unsettled(): readonly SpentCall[] {
    return [...this.#options.journal.unsettled.values()]
  }

  /** A call was charged in the store: of its budgets something is held from now on. */
  note(request: ChargeRequest): void {
    if (this.#options.share === 0) return
    const now = this.#monotonic()
    for (const { budget, amount } of this.#partsOf(request) ?? []) {
      const slice = this.#slices.get(budget) ?? this.#add(request.zone, budget, now)
      slice.usedAt = now
      if (amount > slice.unit) slice.unit = amount
    }
  }

  /** Takes the call of what is held, of all budgets that pay or of none, and makes that durable. Undefined: it may not go out on it. */
  async spend(request: ChargeRequest): Promise<SpentCall | undefined> {
    const { journal, clock } = this.#options
    const parts = this.#partsOf(request)
    if (parts === undefined || parts.length === 0 || !journal.writable || this.#leaving) return undefined
    const now = this.#monotonic()
    const covered = parts.every(({ budget, amount }) => {
      const slice = this.#slices.get(budget)
      return slice !== undefined && now < slice.until && slice.held - slice.spent >= amount
    })
    if (!covered) return undefined
    const { zone, request: id, what, price } = request
    const call: SpentCall = {
      act: 'spend',
      zone,
      request: id,
      point: journal.point,
      what,
      parts: parts.map((part) => ({ ...part, amount: String(part.amount) })),
      amount: String(price === null ? 0n : parseAmount(price.amount)),
      currency: price?.currency ?? null,
      actual: null,
      at: clock(),
    }
    this.#each(call, (slice, amount) => {
      slice.spent += amount
    })
    // What could not be made durable may stand on the volume all the same: it is not there to be spent again.
    return (await journal.spend(call)) ? call : undefined
  }

  /** The call ended and cost this; as it is to be said to the store. */
  ended(call: SpentCall, actual: string | null): SpentCall {
    this.#options.journal.ended(call.request, actual)
    return { ...call, actual }
  }

  /** The call had no effect: what it took is there again. */
  giveBack(call: SpentCall): void {
    this.#each(call, (slice, amount) => {
      slice.spent -= amount
    })
    this.#options.journal.over(call.request)
  }

  /** The store has counted the call. */
  counted(request: RequestId): void {
    const { journal } = this.#options
    const call = journal.unsettled.get(request)
    if (call === undefined) return
    if (call.point === journal.point)
      this.#each(call, (slice, amount) => {
        slice.spent -= amount
        slice.held -= amount
        slice.counted += amount
      })
    journal.over(request)
  }

  /** Asks the store for what is due; one question at a time. Resolves when there is nothing to ask, or it was answered. */
  renew(): Promise<void> {
    this.#asking ??= this.#renew().finally(() => {
      this.#asking = undefined
    })
    return this.#asking
  }

  /** Gives back what is held, if the store can be told within so long. Milliseconds. */
  async close(withinMs: number): Promise<void> {
    clearInterval(this.#timer)
    this.#leaving = true
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, withinMs)
    await Promise.race([this.#leave(), late])
    clearTimeout(timer)
    await this.#options.journal.close()
  }

  async #leave(): Promise<void> {
    await this.#asking
    for (let tries = 0; tries < LEAVE_TRIES && this.#slices.size > 0; tries += 1) {
      for (const slice of this.#slices.values()) slice.renewAt = 0
      await this.renew()
    }
  }

  async #renew(): Promise<void> {
    const { journal, client, clock, ttlMs, logger } = this.#options
    const now = this.#monotonic()
    const due = [...this.#slices.values()].filter(({ renewAt }) => renewAt <= now)
    const asked: { readonly zone: ZoneId; readonly slices: readonly Slice[] }[] = []
    for (const [zone, all] of Map.groupBy(due, ({ zone }) => zone)) {
      const slices: Slice[] = []
      for (const slice of all) {
        if (!slice.noted && !this.#isWanted(slice, now)) this.#slices.delete(slice.budget)
        else if (slice.noted || (await journal.hold(zone, slice.budget))) slices.push(slice)
      }
      for (const slice of slices) slice.noted = true
      for (let at = 0; at < slices.length; at += MOST_BUDGETS) asked.push({ zone, slices: slices.slice(at, at + MOST_BUDGETS) })
    }
    if (asked.length === 0) return
    const sentAt = this.#monotonic()
    const orders = asked.map(({ zone, slices }) => ({
      act: 'hold',
      zone,
      point: journal.point,
      ttlMs,
      budgets: slices.map((slice) => this.#wanted(slice, now, clock())),
    }))
    const answer = await client.call('/internal/charges', { orders }, { reply: ChargesReply }).catch((error: unknown) => {
      logger.warn({ err: error }, 'what is held of budgets could not be renewed')
      return undefined
    })
    const answers = answer?.ok === true && answer.value.answers.length === orders.length ? answer.value.answers : undefined
    for (const [at, { slices }] of asked.entries()) {
      const held = new Map(answers?.[at]?.slices?.map((one) => [one.budget, one]))
      for (const slice of slices) this.#answered(slice, held.get(slice.budget), sentAt)
    }
  }

  #isWanted({ usedAt }: Slice, now: number): boolean {
    return !this.#leaving && now - usedAt < IDLE_MS
  }

  /** What is asked of the store. What this point will go by no more it stops going by before. */
  #wanted(slice: Slice, now: number, clock: number) {
    const share = this.#isWanted(slice, now) ? this.#options.share : 0
    const most = share === 0 ? slice.spent : max(slice.spent, min(slice.held, slice.target ?? slice.held))
    slice.held = min(slice.held, most)
    slice.counted = 0n
    slice.turn = Math.max(slice.turn + 1, Math.floor(clock))
    if (share === 0) slice.until = 0
    return { budget: slice.budget, turn: slice.turn, most: String(most), share, unit: String(max(slice.unit, 1n)) }
  }

  #answered(slice: Slice, answer: NonNullable<ChargeReply['slices']>[number] | undefined, sentAt: number): void {
    const now = this.#monotonic()
    slice.renewAt = now + SOON_MS
    if (answer === undefined) return
    if (answer.stale) {
      slice.turn = Math.max(slice.turn, answer.turn)
      slice.renewAt = now
      return
    }
    slice.held = max(0n, BigInt(answer.amount) - slice.counted)
    slice.target = BigInt(answer.target)
    if (this.#isWanted(slice, now)) {
      slice.until = sentAt + this.#options.ttlMs
      if (slice.target >= slice.held) slice.renewAt = now + Math.min(RENEW_MS, this.#options.ttlMs / 3)
    } else if (answer.amount === '0' && slice.spent === 0n) {
      // Not what this point makes of it: the store may hold something for a call that it had counted before.
      this.#slices.delete(slice.budget)
      this.#options.journal.letGo(slice.budget)
    }
  }

  #add(zone: ZoneId, budget: BudgetId, usedAt: number): Slice {
    const slice: Slice = {
      zone,
      budget,
      held: 0n,
      spent: 0n,
      counted: 0n,
      target: null,
      turn: 0,
      unit: 0n,
      until: 0,
      usedAt,
      renewAt: 0,
      noted: false,
    }
    this.#slices.set(budget, slice)
    return slice
  }

  #each(call: SpentCall, change: (slice: Slice, amount: bigint) => void): void {
    for (const { budget, amount } of call.parts) {
      const slice = this.#slices.get(budget)
      if (slice !== undefined) change(slice, BigInt(amount))
    }
  }

  /** What the call takes of which budget, as the store would say; undefined where it would refuse. */
  #partsOf({ zone, holders, price }: ChargeRequest): readonly Part[] | undefined {
    const byHolder = this.#holdersOf(this.#options.budgetsOf(zone))
    const concerned = holders.flatMap((holder) => byHolder.get(holder) ?? [])
    if (price !== null && concerned.some(({ currency }) => currency !== null && currency !== price.currency)) return undefined
    const cost = price === null ? 0n : parseAmount(price.amount)
    if (cost === undefined) return undefined
    return concerned.flatMap(({ id, currency }): readonly Part[] => {
      if (currency === null) return [{ budget: id, amount: 1n, money: false }]
      return price === null ? [] : [{ budget: id, amount: cost, money: true }]
    })
  }

  #holdersOf(budgets: readonly HeldBudget[]): ReadonlyMap<string, readonly HeldBudget[]> {
    const known = this.#byHolder.get(budgets) ?? Map.groupBy(budgets, ({ holder }) => holder as string)
    this.#byHolder.set(budgets, known)
    return known
  }
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}
