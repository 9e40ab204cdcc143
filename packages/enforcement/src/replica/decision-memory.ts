import type { Decision, Scope } from '@caracal/core'
import type { Mandate } from '../mandate/verify-mandate.ts'

/**
 * Decisions that no call changes, of one state of a zone, by mandate and scope (P-075). Of so many mandates at most; the one that was
 * remembered first goes first. 0 remembers nothing.
 */
export class DecisionMemory {
  readonly #capacity: number
  readonly #held = new Map<Mandate, Map<Scope, Decision>>()
  #size = 0

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  get(mandate: Mandate, scope: Scope): Decision | undefined {
    return this.#held.get(mandate)?.get(scope)
  }

  set(mandate: Mandate, scope: Scope, decision: Decision): void {
    if (this.#capacity === 0) return
    const known = this.#held.get(mandate)
    if (known?.has(scope)) return
    if (known === undefined) this.#held.set(mandate, new Map([[scope, decision]]))
    else known.set(scope, decision)
    this.#size += 1
    while (this.#size > this.#capacity) this.#forgetFirst()
  }

  /** Decisions that are held. */
  get size(): number {
    return this.#size
  }

  #forgetFirst(): void {
    const [first] = this.#held
    if (first === undefined) return
    this.#held.delete(first[0])
    this.#size -= first[1].size
  }
}
