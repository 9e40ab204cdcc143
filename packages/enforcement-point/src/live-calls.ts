import type { Reason, UnixMillis, ZoneId } from '@caracal/core'
import type { Cut } from '@caracal/enforcement'

/** One call between its decision and its end. */
export type LiveCall = {
  /** Every id whose revocation ends it. */
  readonly ids: readonly string[]
  /** When its mandate stops being accepted. */
  readonly endsAt: UnixMillis
  readonly zone: ZoneId
  /** Why it would not be allowed any more as its zone is now; null while it would. */
  readonly unallowed: () => Reason | null
  /** Ends it at once. Called at most once. */
  readonly cut: (reason: Reason) => void
}

export type LiveCallsOptions = {
  /** `RevocationView.watch`: calls back once when an id is revoked or nothing can be vouched for. */
  readonly watch: (ids: readonly string[], cut: (why: Cut) => void) => () => void
  readonly clock?: () => UnixMillis
}

type Running = { readonly call: LiveCall; unwatch: () => void; readonly slot: number }

const SLOT_MS = 100

/**
 * The calls in flight. A revoked id costs the number of calls that name it: the view indexes them. Calls whose mandate ends are
 * cut within a tenth of a second; they wait in slots, so that no call needs a timer of its own.
 */
export class LiveCalls {
  readonly #watch: LiveCallsOptions['watch']
  readonly #clock: () => UnixMillis
  readonly #running = new Set<Running>()
  readonly #slots = new Map<number, Set<Running>>()
  readonly #timer: NodeJS.Timeout
  #sweptTo: number

  constructor(options: LiveCallsOptions) {
    this.#watch = options.watch
    this.#clock = options.clock ?? Date.now
    this.#sweptTo = Math.floor(this.#clock() / SLOT_MS)
    this.#timer = setInterval(() => this.tick(), SLOT_MS)
    this.#timer.unref()
  }

  /** Calls in flight. */
  get size(): number {
    return this.#running.size
  }

  /** Takes a call in; it may be cut before this returns. Returns how to take it out when it has ended. */
  add(call: LiveCall): () => void {
    const running: Running = { call, unwatch: () => {}, slot: Math.max(Math.ceil(call.endsAt / SLOT_MS), this.#sweptTo + 1) }
    this.#running.add(running)
    const others = this.#slots.get(running.slot)
    if (others === undefined) this.#slots.set(running.slot, new Set([running]))
    else others.add(running)
    const unwatch = this.#watch(call.ids, (why) => this.#cut(running, why.reason))
    if (this.#running.has(running)) running.unwatch = unwatch
    else unwatch()
    return () => this.#remove(running)
  }

  /** Cuts every call: the process stops, or nothing can be vouched for. */
  cutAll(reason: Reason): void {
    for (const running of [...this.#running]) this.#cut(running, reason)
  }

  /** Cuts what the zone does not allow any more, after a change of it: its policies, what its resource declares. */
  recheck(zone: ZoneId): void {
    for (const running of [...this.#running]) {
      const why = running.call.zone === zone ? running.call.unallowed() : null
      if (why !== null) this.#cut(running, why)
    }
  }

  /** Cuts what has ended by now. */
  tick(): void {
    const now = Math.floor(this.#clock() / SLOT_MS)
    if (now <= this.#sweptTo) return
    const ended =
      now - this.#sweptTo > this.#slots.size
        ? [...this.#slots.keys()].filter((slot) => slot <= now)
        : Array.from({ length: now - this.#sweptTo }, (_, at) => this.#sweptTo + 1 + at)
    this.#sweptTo = now
    for (const slot of ended) for (const running of [...(this.#slots.get(slot) ?? [])]) this.#cut(running, 'token_expired')
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #cut(running: Running, reason: Reason): void {
    if (!this.#running.has(running)) return
    this.#remove(running)
    running.call.cut(reason)
  }

  #remove(running: Running): void {
    if (!this.#running.delete(running)) return
    running.unwatch()
    const others = this.#slots.get(running.slot)
    others?.delete(running)
    if (others?.size === 0) this.#slots.delete(running.slot)
  }
}
