import { AMOUNT, type ChargeReply, ChargesReply, isReason, ok, type RequestId, type Result, refuse, type ZoneId } from '@caracal/core'
import type { CallBudgets, Charge, ChargeRequest } from '@caracal/enforcement'
import type { InternalClient, Logger, Metrics } from '@caracal/service'
import type { BudgetSlices } from './budget-slices.ts'
import type { SpentCall } from './spend-journal.ts'

type Settlement =
  | { readonly act: 'settle'; readonly zone: ZoneId; readonly request: RequestId; readonly actual: string | null }
  | { readonly act: 'release'; readonly zone: ZoneId; readonly request: RequestId }
  | SpentCall

type Reservation = { readonly act: 'reserve' } & ChargeRequest

type Waiting = { readonly order: Reservation; readonly answer: (result: Result<Charge | null>) => void }

/** Orders that go in one call at most. One call is on its way at a time: what comes meanwhile goes together in the next. */
const MOST_ORDERS = 500
/** How long a settlement waits for a reservation to go with. Milliseconds. */
const LINGER_MS = 50
/** After a call that was not answered. Milliseconds. */
const RETRY_MS = 500
/** Settlements that wait for an STS that is away; above it the oldest are given up, and their charges expire. */
const MOST_KEPT = 100_000

/**
 * Charges at the STS, many in one signed call (P-045). A reservation is answered or refused: nothing is let through on a guess. What is
 * settled or released is not lost while the STS is away: it is sent until it is answered, in the order it came. A reservation that was
 * not answered may stand there: it is released. While the store is away, and where it has no more, a call goes out on what this point
 * holds for that, if it does (`BudgetSlices`).
 */
export class ChargeClient implements CallBudgets {
  readonly required: boolean
  readonly #client: Pick<InternalClient, 'call'>
  readonly #logger: Logger
  readonly #outcomes: ReturnType<Metrics['counter']>
  readonly #slices: BudgetSlices | undefined
  /** The last call was not answered. */
  #away = false
  #reserving: Waiting[] = []
  #settling: Settlement[] = []
  #flying = false
  #timer: NodeJS.Timeout | undefined
  #due = 0
  #scheduled = false
  #idle: (() => void)[] = []

  constructor(options: {
    readonly client: Pick<InternalClient, 'call'>
    readonly required: boolean
    readonly logger: Logger
    readonly metrics: Metrics
    /** Absent: nothing is spent while the store is away. */
    readonly slices?: BudgetSlices | undefined
  }) {
    this.#client = options.client
    this.required = options.required
    this.#logger = options.logger
    this.#slices = options.slices
    this.#outcomes = options.metrics.counter('caracal_charges_total', 'Charges to budgets, by what became of them.', ['outcome'])
    for (const outcome of ['charged', 'spent', 'unmetered', 'refused', 'unavailable', 'settled', 'late', 'released', 'given_up'])
      this.#outcomes.inc({ outcome }, 0)
    options.metrics.gauge('caracal_charges_unsettled', 'Settlements and releases that the STS has not answered yet.', [], (own) =>
      own.set(this.#settling.length),
    )
    options.metrics.gauge('caracal_budget_slices', 'Budgets of which something is held for the time that the store is away.', [], (own) =>
      own.set(this.#slices?.size ?? 0),
    )
    for (const call of this.#slices?.unsettled() ?? []) this.#enqueue(call)
  }

  readonly reserve = (request: ChargeRequest): Promise<Result<Charge | null>> =>
    this.#away && this.#slices !== undefined ? this.#whileAway(request) : this.#ask(request)

  async #whileAway(request: ChargeRequest): Promise<Result<Charge | null>> {
    return (await this.#spend(request, true)) ?? this.#ask(request)
  }

  #ask(request: ChargeRequest): Promise<Result<Charge | null>> {
    return new Promise((answer) => {
      this.#reserving.push({ order: { act: 'reserve', ...request }, answer })
      this.#soon()
    })
  }

  /** On what this point holds; undefined: that does not do. */
  async #spend(request: ChargeRequest, unconfirmed: boolean): Promise<Result<Charge> | undefined> {
    const call = await this.#slices?.spend(request)
    if (call === undefined) return undefined
    this.#outcomes.inc({ outcome: 'spent' })
    return ok(this.#spentCharge(call, unconfirmed))
  }

  /** Resolves when nothing is on its way and nothing waits, or after so long. Milliseconds. */
  async close(withinMs: number): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, withinMs)
    const done = new Promise<void>((settled) => this.#idle.push(settled))
    this.#fly()
    await Promise.race([done, late])
    clearTimeout(timer)
    clearTimeout(this.#timer)
    await this.#slices?.close(withinMs)
    if (this.#settling.length > 0)
      this.#logger.warn({ left: this.#settling.length }, 'charges were not settled; what they cost is given back when they expire')
  }

  /** What comes in this turn of the loop goes together. */
  #soon(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#fly()
    })
  }

  #later(ms: number): void {
    const due = performance.now() + ms
    if (this.#timer !== undefined && this.#due <= due) return
    clearTimeout(this.#timer)
    this.#due = due
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#fly()
    }, ms)
    this.#timer.unref()
  }

  #enqueue(settlement: Settlement): void {
    this.#settling.push(settlement)
    if (this.#settling.length > MOST_KEPT) {
      this.#settling.shift()
      this.#outcomes.inc({ outcome: 'given_up' })
    }
    this.#later(LINGER_MS)
  }

  #fly(): void {
    if (this.#flying) return
    if (this.#reserving.length + this.#settling.length === 0) {
      for (const idle of this.#idle.splice(0)) idle()
      return
    }
    this.#flying = true
    const reservations = this.#reserving.splice(0, MOST_ORDERS / 2)
    const settlements = this.#settling.splice(0, MOST_ORDERS / 2)
    void this.#send(settlements, reservations)
  }

  async #send(settlements: readonly Settlement[], reservations: readonly Waiting[]): Promise<void> {
    const orders = [...settlements, ...reservations.map(({ order }) => order)]
    const answer = await this.#client.call('/internal/charges', { orders }, { reply: ChargesReply }).catch((error: unknown) => {
      this.#logger.error({ err: error }, 'charges could not be sent')
      return refuse('sts_unavailable')
    })
    this.#flying = false
    const answers = answer.ok && answer.value.answers.length === orders.length ? answer.value.answers : undefined
    this.#away = answers === undefined
    if (answers === undefined) {
      const reason = answer.ok ? 'sts_unavailable' : shown(answer.reason)
      this.#settling.unshift(...settlements)
      for (const { order, answer: tell } of reservations) {
        this.#settling.push({ act: 'release', zone: order.zone, request: order.request })
        void this.#spend(order, true).then((spent) => {
          if (spent === undefined) this.#outcomes.inc({ outcome: 'unavailable' })
          tell(spent ?? refuse(reason))
        })
      }
      if (this.#settling.length > 0) this.#later(RETRY_MS)
      if (this.#reserving.length > 0) this.#soon()
      return
    }
    for (const [at, { act, request }] of settlements.entries()) {
      this.#outcomes.inc({ outcome: answers[at]?.outcome ?? 'unknown' })
      if (act === 'spend') this.#slices?.counted(request)
    }
    for (const [at, waiting] of reservations.entries()) this.#answer(waiting, answers[settlements.length + at])
    this.#fly()
  }

  #answer({ order, answer }: Waiting, reply: ChargeReply | undefined): void {
    const outcome = reply?.outcome ?? 'refused'
    this.#outcomes.inc({ outcome })
    if (outcome === 'unmetered') answer(ok(null))
    else if (outcome === 'charged') {
      this.#slices?.note(order)
      answer(ok(this.#charge(order, reply?.expiresAt ?? 0)))
    } else {
      const refusal = refuse(
        isReason(reply?.reason ?? '') ? (reply?.reason as 'budget_exceeded') : 'store_unavailable',
        undefined,
        reply?.data,
      )
      if (refusal.reason !== 'budget_exceeded' || this.#slices === undefined) answer(refusal)
      // What the store has no more this point may hold still.
      else void this.#spend(order, false).then((spent) => answer(spent ?? refusal))
    }
  }

  #spentCharge(call: SpentCall, unconfirmed: boolean): Charge {
    let done = false
    const once = (act: () => void) => {
      if (done) return
      done = true
      act()
    }
    return {
      expiresAt: Number.POSITIVE_INFINITY,
      unconfirmed,
      settle: (actual) =>
        once(() => {
          const cost = actual !== undefined && AMOUNT.test(actual) ? actual : null
          this.#enqueue(this.#slices?.ended(call, cost) ?? call)
        }),
      release: async () => once(() => this.#slices?.giveBack(call)),
    }
  }

  #charge({ zone, request }: Reservation, expiresAt: number): Charge {
    let done = false
    const end = (settlement: Settlement) => {
      if (done) return
      done = true
      this.#enqueue(settlement)
    }
    return {
      expiresAt,
      settle: (actual) => end({ act: 'settle', zone, request, actual: actual !== undefined && AMOUNT.test(actual) ? actual : null }),
      release: async () => end({ act: 'release', zone, request }),
    }
  }
}

/** Whoever calls learns that it cannot be known, not what the STS thinks of this role. */
function shown(reason: string): 'sts_unavailable' | 'store_unavailable' {
  return reason === 'sts_unavailable' ? 'sts_unavailable' : 'store_unavailable'
}
