import type { Event } from '@caracal/core'
import type { Claim } from './wanted-claim.ts'

/** What an event carries before the writer gives it version, id and time. */
export type EventDraft = Omit<Event, 'v' | 'id' | 'time' | 'service'>

/**
 * Writes evidence. `record` resolves when the event is durable (or, in `async` mode, at once) and rejects with
 * `EvidenceUnavailable` when it cannot be made so: then the effect must not happen.
 */
export type EvidenceWriter = {
  /**
   * Makes the canonical bytes, signs them, spools them. Returns the event id. What nobody waits for is wanted `soon`: it costs no durable
   * write of its own when others follow within 20 ms.
   */
  record(draft: EventDraft, when?: 'now' | 'soon'): Promise<string>
  /**
   * Records what waits for its effect, and claims in the same commit what it may happen once for. Rejects with `AlreadyClaimed`, and records
   * nothing, when somebody else has the key. When it rejects with anything else the claim may have been made.
   * Absent where evidence and claims are not in one store.
   */
  readonly recordClaiming?: ((draft: EventDraft, claim: Claim) => Promise<string>) | undefined
  /** Whether the next `record` is expected to work; `/ready` asks it. */
  writable(): boolean
  /** Flushes to the work stream as far as it can within `ms`; what remains stays on the volume. Returns what is left. */
  close(ms: number): Promise<number>
}

/** Somebody else has the key that was claimed with the event: the effect must not happen. */
export class AlreadyClaimed extends Error {
  override readonly name = 'AlreadyClaimed'
}

export class EvidenceUnavailable extends Error {
  override readonly name = 'EvidenceUnavailable'
}
