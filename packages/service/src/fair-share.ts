/** How much of the load goes on after each turn that is still too much, and how much more is let in after one that is not. */
const LESS = 0.8
const MORE = 1.1
/** Turns in a row without anything being held back after which nothing is counted any more. */
const CALM = 10

/**
 * Bounds what passes in a turn while there is too much of it, and shares that among the parties that ask: nobody who asks for less
 * than the share is held back, whatever the others ask for (max-min fairness, P-169). While there is not too much, it only counts.
 */
export class FairShare {
  /** What may pass in a turn; null while nothing is bounded. */
  #budget: number | null = null
  /** What one party may have in this turn. */
  #share = Number.POSITIVE_INFINITY
  #asked = new Map<string, number>()
  #passed = 0
  #held = 0
  #calm = 0
  /** What passed in the last turn that was not bounded. */
  #atFirst = 0

  /** Whether anything is held back at the moment. */
  get bounded(): boolean {
    return this.#budget !== null
  }

  /** What passed in this turn so far. */
  get passed(): number {
    return this.#passed
  }

  /** Whether one more of that party passes. */
  admit(party: string): boolean {
    if (this.#budget !== null) {
      const asked = (this.#asked.get(party) ?? 0) + 1
      this.#asked.set(party, asked)
      if (asked > this.#share) {
        this.#held += 1
        return false
      }
    }
    this.#passed += 1
    return true
  }

  /**
   * Ends a turn. `tooMuch`: what passed in it was more than can be carried. `keep`: part of what passed at first that is never taken
   * away, because to refuse is work, too.
   */
  turn(tooMuch: boolean, keep = 0): void {
    if (this.#budget === null) {
      this.#atFirst = this.#passed
      if (tooMuch) this.#budget = Math.max(1, this.#passed * LESS)
    } else {
      this.#budget = tooMuch ? Math.max(1, this.#atFirst * keep, Math.min(this.#budget, this.#passed) * LESS) : this.#budget * MORE + 1
      this.#calm = tooMuch || this.#held > 0 ? 0 : this.#calm + 1
      if (this.#calm >= CALM) this.#budget = null
    }
    this.#share = this.#budget === null ? Number.POSITIVE_INFINITY : waterLevel(this.#budget, [...this.#asked.values()])
    if (this.#budget === null) this.#calm = 0
    this.#asked = new Map()
    this.#passed = 0
    this.#held = 0
  }
}

/** The level up to which everybody gets what they ask for, so that together it is `budget`; at least one. */
function waterLevel(budget: number, asked: readonly number[]): number {
  let rest = budget
  const rising = asked.toSorted((a, b) => a - b)
  for (const [at, one] of rising.entries()) {
    const level = rest / (rising.length - at)
    if (one > level) return Math.max(1, level)
    rest -= one
  }
  // Everybody fits: what is left may go to anybody.
  return Math.max(1, (rising.at(-1) ?? 0) + rest)
}
