/** Failures in a row that open it. */
const THRESHOLD = 5
/** How long an open breaker waits between probes: short, so that it does not outlive the outage (P-175). Milliseconds. */
const PROBE_EVERY_MS = 250

/**
 * Keeps calls away from an upstream that fails anyway. Open, it lets one call pass every quarter of a second as a probe; the first
 * that gets through closes it. Who could not connect is healthy again with the first connection, who did not answer with the
 * first answer.
 */
export class CircuitBreaker {
  readonly #monotonic: () => number
  #failures = 0
  #failedTo: 'connect' | 'answer' = 'connect'
  #nextProbeAt = 0

  constructor(monotonic: () => number = () => performance.now()) {
    this.#monotonic = monotonic
  }

  /** Whether a call may go out now. A yes of an open breaker is the probe. */
  admit(): boolean {
    if (!this.open) return true
    const now = this.#monotonic()
    if (now < this.#nextProbeAt) return false
    this.#nextProbeAt = now + PROBE_EVERY_MS
    return true
  }

  get open(): boolean {
    return this.#failures >= THRESHOLD
  }

  /** A connection stands. */
  connected(): void {
    if (this.#failedTo === 'connect') this.#failures = 0
  }

  /** The head of a response came, whatever its status. */
  answered(): void {
    this.#failures = 0
  }

  /** The upstream could not be reached, or took the call and gave no answer. */
  failed(to: 'connect' | 'answer'): void {
    this.#failures++
    this.#failedTo = to
    this.#nextProbeAt = this.#monotonic() + PROBE_EVERY_MS
  }
}
