import { decodeBeginning, ENCODED_BYTES } from './decode-beginning.ts'
import type { LeakScan, Scanned } from './leak-scan.ts'

/** What may be decoded chunk by chunk, in bytes; after that only each time as much again has come. */
const BUDGET_BYTES = 4 * 1024 * 1024
const COST_OF_A_LOOK = 1024

/**
 * Looks for injected credentials in what a compressed body says, however it is cut into chunks: each chunk of its beginning waits until
 * everything so far was decoded and looked through. A flood of tiny chunks is looked through in larger pieces.
 */
export class EncodedScan {
  readonly #coding: string
  readonly #scan: Pick<LeakScan, 'inBytes' | 'endsInBeginning'>
  #seen: Buffer[] | null = []
  #size = 0
  #lookedAt = 0
  #budget = BUDGET_BYTES
  #held: Buffer[] = []

  constructor(coding: string, scan: Pick<LeakScan, 'inBytes' | 'endsInBeginning'>) {
    this.#coding = coding
    this.#scan = scan
  }

  /** Takes what comes next. */
  take(parts: readonly Buffer[]): Scanned {
    if (this.#seen === null) return { leaked: false, pass: parts }
    for (const part of parts) {
      this.#seen.push(part)
      this.#held.push(part)
      this.#size += part.length
    }
    const complete = this.#size >= ENCODED_BYTES
    if (this.#budget <= 0 && !complete && this.#size < 2 * this.#lookedAt) return { leaked: false, pass: [] }
    return this.#look(complete)
  }

  /** The body is complete: what was held. */
  finish(): Scanned {
    return this.#held.length === 0 ? { leaked: false, pass: [] } : this.#look(true)
  }

  #look(complete: boolean): Scanned {
    const decoded = this.#seen === null ? null : decodeBeginning(this.#coding, this.#seen)
    this.#lookedAt = this.#size
    this.#budget -= this.#size + (decoded?.length ?? 0) + COST_OF_A_LOOK
    if (decoded !== null && this.#scan.inBytes(decoded)) return { leaked: true }
    if (complete) this.#seen = null
    else if (decoded !== null && this.#scan.endsInBeginning(decoded)) return { leaked: false, pass: [] }
    const pass = this.#held
    this.#held = []
    return { leaked: false, pass }
  }
}
