/**
 * Whether the client of a request went away before its answer was complete. Hardly any handler asks: the signal is only made for those
 * that do.
 */
export class Departure {
  #gone = false
  #controller: AbortController | undefined

  happened(): void {
    this.#gone = true
    this.#controller?.abort()
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#gone) this.#controller.abort()
    return this.#controller.signal
  }
}
