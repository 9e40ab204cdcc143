/** A ledger that confirmed nothing for so long is away, not slow. Milliseconds. */
const AWAY_MS = 5_000
/** Whether the backlog shrinks is seen over this long. Milliseconds. */
const TREND_MS = 2_000
const MARK_EVERY_MS = 250

/**
 * Whether the ledger falls behind what this process makes (P-172): the oldest event that it has not confirmed is older than the
 * limit, it does confirm, and the backlog does not shrink. A ledger that is away is no reason to slow down: the spool is there for
 * that; nor is a backlog that is being worked off.
 */
export class LedgerLag {
  readonly #limitMs: number
  /** What was made by when, of what is not confirmed; oldest first. */
  #marks: { readonly made: number; readonly backlog: number; readonly at: number }[] = []
  #confirmed = 0
  #progressAt = Number.NEGATIVE_INFINITY
  /** Since when it confirms without being away. */
  #presentSince = 0

  constructor(limitMs: number) {
    this.#limitMs = limitMs
  }

  /** Takes a look at monotonic time `at`: the number of the last event made, and how many are not confirmed. */
  fallsBehind(made: number, backlog: number, at: number): boolean {
    const confirmed = made - backlog
    if (confirmed > this.#confirmed) {
      if (at - this.#progressAt > AWAY_MS) this.#presentSince = at
      this.#confirmed = confirmed
      this.#progressAt = at
    }
    while (this.#marks[0] && this.#marks[0].made <= confirmed) this.#marks.shift()
    const last = this.#marks.at(-1)
    if (backlog > 0 && (last === undefined || at - last.at >= MARK_EVERY_MS)) this.#marks.push({ made, backlog, at })
    const oldest = this.#marks[0]
    if (oldest === undefined || at - oldest.at <= this.#limitMs || at - this.#progressAt > AWAY_MS) return false
    // What it shows in its first seconds is the backlog of its absence.
    if (at - this.#presentSince < AWAY_MS) return false
    const before = this.#marks.findLast((mark) => at - mark.at >= TREND_MS) ?? oldest
    return backlog >= before.backlog
  }
}
