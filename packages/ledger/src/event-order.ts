/** How the next event stands to those before it. */
export type Standing = 'next' | 'ahead' | 'late' | 'duplicate' | 'foreign'

/** Positions [from, to) of the selection that never came. */
export type Absent = { readonly from: number; readonly to: number }

/**
 * Follows events through positions 0 … count − 1 and says of each whether it is where it belongs.
 * Hands them on in order (`release`), whatever order they came in, so that a mere reordering is told from a change.
 */
export class EventOrder<T> {
  readonly #count: number
  readonly #release: (item: T) => void
  readonly #waiting = new Map<number, T>()
  #next = 0

  constructor(count: number, release: (item: T) => void) {
    this.#count = count
    this.#release = release
  }

  accept(position: number, item: T): Standing {
    if (position < 0 || position >= this.#count) return 'foreign'
    if (position < this.#next || this.#waiting.has(position)) return 'duplicate'
    if (position > this.#next) {
      this.#waiting.set(position, item)
      return 'ahead'
    }
    const standing = this.#waiting.size === 0 ? 'next' : 'late'
    this.#advance(item)
    return standing
  }

  /** What never came, in order. */
  absent(): Absent[] {
    const runs: Absent[] = []
    let at = this.#next
    for (const position of [...this.#waiting.keys()].sort((a, b) => a - b)) {
      if (position > at) runs.push({ from: at, to: position })
      at = position + 1
    }
    if (at < this.#count) runs.push({ from: at, to: this.#count })
    return runs
  }

  #advance(item: T): void {
    this.#release(item)
    this.#next += 1
    for (let waiting = this.#waiting.get(this.#next); waiting !== undefined; waiting = this.#waiting.get(this.#next)) {
      this.#waiting.delete(this.#next)
      this.#release(waiting)
      this.#next += 1
    }
  }
}
