import type { Seconds, SyncRequest, ZoneId, ZoneSnapshot } from '@caracal/core'
import { DecisionMemory } from './decision-memory.ts'
import { compileZone, DECISIONS, type ZoneState } from './zone-state.ts'

/** How long what is loaded serves without its source unless told otherwise (P-012). */
const MAX_UNCONFIRMED: Seconds = 600

/**
 * Everything a deciding replica knows of its zones. A zone is swapped as a whole: who took its state works with it to the end.
 * It never goes back to an older version, whatever order loads finish in.
 */
export class ReplicaState {
  readonly #zones = new Map<ZoneId, ZoneState>()
  readonly #monotonic: () => number
  readonly #changed: ((zone: ZoneId) => void) | undefined
  readonly #failed: (() => void) | undefined
  readonly #maxUnconfirmed: Seconds
  readonly #remembers: number
  #confirmedAt: number | null = null
  #doubted = false
  #generation = 0

  /**
   * `changed` is told of a zone after another state of it was taken, or none is left; `failed` each time that a zone's policy cannot be
   * used. `maxUnconfirmed`: how long what is loaded serves without its source. `remembers`: decisions kept for each zone.
   */
  constructor(
    options: {
      readonly monotonic?: () => number
      readonly changed?: (zone: ZoneId) => void
      readonly failed?: () => void
      readonly maxUnconfirmed?: Seconds
      readonly remembers?: number
    } = {},
  ) {
    this.#maxUnconfirmed = options.maxUnconfirmed ?? MAX_UNCONFIRMED
    this.#remembers = options.remembers ?? DECISIONS
    this.#monotonic = options.monotonic ?? (() => performance.now())
    this.#changed = options.changed
    this.#failed = options.failed
  }

  zone(id: ZoneId): ZoneState | undefined {
    return this.#zones.get(id)
  }

  zones(): readonly ZoneState[] {
    return [...this.#zones.values()]
  }

  /** Another number whenever any zone is another. */
  generation(): number {
    return this.#generation
  }

  /** Takes a snapshot unless a newer one is held. The same version again replaces one that failed. */
  apply(snapshot: ZoneSnapshot): 'applied' | 'older' {
    const held = this.#zones.get(snapshot.id)
    if (held !== undefined && snapshot.version < held.snapshot.version) return 'older'
    if (held?.snapshot.version === snapshot.version && held.policy.kind !== 'failed') return 'applied'
    const compiled = compileZone(snapshot, held, this.#remembers)
    this.#zones.set(snapshot.id, compiled)
    this.#generation += 1
    if (compiled.policy.kind === 'failed') this.#failed?.()
    if (held !== undefined) this.#changed?.(snapshot.id)
    return 'applied'
  }

  /** A newer version is known and cannot be loaded: from here on the zone refuses until it can (P-024). */
  fail(zone: ZoneId, error: string): void {
    const held = this.#zones.get(zone)
    if (held !== undefined)
      this.#zones.set(zone, { ...held, policy: { kind: 'failed', error }, decisions: new DecisionMemory(this.#remembers) })
    this.#generation += 1
    this.#failed?.()
  }

  remove(zone: ZoneId): void {
    if (!this.#zones.delete(zone)) return
    this.#generation += 1
    this.#changed?.(zone)
  }

  /** The source said at monotonic time `at` what is current. */
  confirm(at: number = this.#monotonic()): void {
    this.#confirmedAt = Math.max(at, this.#confirmedAt ?? at)
    this.#doubted = false
  }

  /** The source was asked what is current and did not say: what is held may be old. */
  doubt(): void {
    this.#doubted = true
  }

  /** Whether the source did not answer when it was asked last: what is decided now is decided from memory. */
  doubted(): boolean {
    return this.#doubted
  }

  /** Seconds since the source last said what is current; null before the first time. */
  confirmedAgo(): Seconds | null {
    return this.#confirmedAt === null ? null : (this.#monotonic() - this.#confirmedAt) / 1000
  }

  /** `empty` before the first load, `outdated` when the source has not answered for too long: neither may decide anything. */
  standing(): 'empty' | 'current' | 'outdated' {
    if (this.#confirmedAt === null) return 'empty'
    return this.#monotonic() - this.#confirmedAt > this.#maxUnconfirmed * 1000 ? 'outdated' : 'current'
  }

  /** What this replica serves, as it reports it: an activation is complete when every replica names the new version (P-023). */
  loaded(): SyncRequest['loaded'] {
    return Object.fromEntries(
      this.zones().map(({ snapshot, policy }) => [
        snapshot.id,
        {
          version: snapshot.version,
          policy: policy.kind === 'active' ? policy.setVersion : null,
          ...(policy.kind === 'failed' ? { error: policy.error } : {}),
        },
      ]),
    )
  }
}
