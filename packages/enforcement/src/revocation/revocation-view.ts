import { CLOCK_SKEW, MAX_MANDATE_LIFE, type Revocation, type RevocationKind, type RevocationSnapshot, type Seconds } from '@caracal/core'

/** How long an id must stay in every view: no mandate that names it can live longer (P-058). Sources read at least this far back. */
export const REVOCATION_RETENTION: Seconds = MAX_MANDATE_LIFE + 2 * CLOCK_SKEW

/** Why a watched stream is cut. */
export type Cut = { readonly reason: 'token_revoked'; readonly id: string } | { readonly reason: 'revocation_view_stale' }

/** Why nothing may be served at the moment. */
export type Unfit = 'not_loaded' | 'stale' | 'full'

/** What is loaded while messages keep coming: `finish` swaps it in and applies on top what came meanwhile. */
export type Loading = { readonly finish: (snapshot: RevocationSnapshot) => void; readonly abandon: () => void }

export type ViewOptions = {
  /** Entries held at most; one more and the view refuses service until a load fits. */
  readonly capacity?: number
  /** How old the last proof of freshness may be. */
  readonly maxAge?: Seconds
  /** Milliseconds on a clock that never steps; `performance.now` when not given (P-056). */
  readonly monotonic?: () => number
}

type Entry = { readonly revoked: boolean; readonly at: number; readonly forgetAt: number }

/** Whoever is revoked like this is few and stays until lifted; sessions, delegations and mandates are many and end with their mandates. */
const PERMANENT: ReadonlySet<RevocationKind> = new Set(['zone', 'application', 'subject', 'connection', 'resource', 'provider'])

/**
 * What one replica knows to be revoked. A question costs one lookup for each id of the mandate and walks no graph; applying an
 * id costs the same however many mandates are out (P-177). It is fresh while a proof of life of the broadcast, or a poll,
 * is at most `maxAge` old on the monotonic clock; never before the first load or when it is full. After a gap no sign of life
 * counts until it is loaded anew.
 */
export class RevocationView {
  readonly #capacity: number
  readonly #maxAgeMs: number
  readonly #monotonic: () => number
  /** Insertion order is expiry order: every entry of it lives equally long. */
  #passing = new Map<string, Entry>()
  #permanent = new Map<string, Entry>()
  #journal: Revocation[] | null = null
  #loaded = false
  #doubted = false
  #full = false
  #provenAt = Number.NEGATIVE_INFINITY
  #position = ''
  readonly #watchers = new Map<string, Set<Watcher>>()
  readonly #streams = new Set<Watcher>()

  constructor(options: ViewOptions = {}) {
    this.#capacity = options.capacity ?? 1_000_000
    this.#maxAgeMs = (options.maxAge ?? 5) * 1000
    this.#monotonic = options.monotonic ?? (() => performance.now())
  }

  /** The first of `ids` that is revoked, or null. */
  isRevoked(ids: readonly string[]): string | null {
    for (const id of ids) if ((this.#passing.get(id) ?? this.#permanent.get(id))?.revoked === true) return id
    return null
  }

  /** Why the view cannot vouch for anything at the moment; null when it can. */
  unfit(): Unfit | null {
    if (this.#full) return 'full'
    if (!this.#loaded) return 'not_loaded'
    return this.#monotonic() - this.#provenAt > this.#maxAgeMs ? 'stale' : null
  }

  /** Seconds since the last proof that nothing is missing; null before the first. */
  provenAgo(): Seconds | null {
    return Number.isFinite(this.#provenAt) ? (this.#monotonic() - this.#provenAt) / 1000 : null
  }

  /** Entries held, lifted ones included. */
  size(): number {
    return this.#passing.size + this.#permanent.size
  }

  /** Place in the broadcast up to which everything is in here: it stands in the evidence (P-038). */
  position(): string {
    return this.#position
  }

  /** Takes one message of the broadcast. Messages of one id come in order; the last one holds. */
  apply(revocation: Revocation, position?: string): void {
    this.#journal?.push(revocation)
    this.#set(revocation)
    if (position !== undefined) this.#position = position
  }

  /** Takes the answer of a poll, in any order and overlapping with what is known: for each id the latest holds, of equals the revocation. */
  merge(revocations: readonly Revocation[]): void {
    for (const revocation of [...revocations].sort((a, b) => a.at - b.at)) {
      const known = this.#passing.get(revocation.id) ?? this.#permanent.get(revocation.id)
      const isLater = known === undefined || revocation.at > known.at || (revocation.at === known.at && revocation.op === 'revoke')
      if (isLater) this.apply(revocation)
    }
  }

  /** Begins to load a snapshot. What is applied until `finish` is applied again on top of it: nothing is lost between (P-057). */
  startLoading(): Loading {
    const journal: Revocation[] = []
    const startedAt = this.#monotonic()
    this.#journal = journal
    const isCurrent = () => this.#journal === journal
    return {
      finish: ({ position, entries }) => {
        if (!isCurrent()) return
        this.#journal = null
        this.#passing = new Map()
        this.#permanent = new Map()
        this.#full = false
        for (const entry of [...entries, ...journal]) this.#set(entry)
        if (!this.#loaded) this.#position = position
        this.#loaded = true
        this.#doubted = false
        this.proven(startedAt)
      },
      abandon: () => {
        if (isCurrent()) this.#journal = null
      },
    }
  }

  /** A gap: from here on no sign of life proves anything, until it is loaded anew. */
  doubt(): void {
    this.#doubted = true
    // What is being loaded right now may have been read before the gap.
    this.#journal = null
  }

  /** Proof of freshness as of monotonic time `at`: a sign of life of the broadcast just now, or when a poll was asked. */
  proven(at: number = this.#monotonic()): void {
    if (!this.#doubted && at > this.#provenAt) this.#provenAt = at
  }

  /**
   * Watches the ids of a running stream. `cut` is called once: when one of them is revoked (at once if one already is), or when
   * the view can no longer vouch. The cost of a revocation is the number of streams that name the id. Returns how to stop watching.
   */
  watch(ids: readonly string[], cut: (why: Cut) => void): () => void {
    const watcher: Watcher = { ids, cut }
    const revoked = this.isRevoked(ids)
    if (revoked !== null) {
      cut({ reason: 'token_revoked', id: revoked })
      return () => {}
    }
    this.#streams.add(watcher)
    for (const id of ids) {
      const others = this.#watchers.get(id)
      if (others === undefined) this.#watchers.set(id, new Set([watcher]))
      else others.add(watcher)
    }
    return () => this.#unwatch(watcher)
  }

  /** Streams watched at the moment. */
  watched(): number {
    return this.#streams.size
  }

  /** Cuts the streams when nothing can be vouched for, and forgets what no mandate can name any more. Called several times a second. */
  tick(): void {
    if (this.unfit() !== null) for (const watcher of [...this.#streams]) this.#cut(watcher, { reason: 'revocation_view_stale' })
    this.#sweep()
  }

  #set({ op, kind, id, at }: Revocation): void {
    const before = this.#passing.get(id) ?? this.#permanent.get(id)
    // Messages prove who wrote them, not when: an old lift that somebody sends once more must not undo a later revocation.
    if (op === 'lift' && before?.revoked === true && at < before.at) return
    this.#passing.delete(id)
    this.#permanent.delete(id)
    if (op === 'revoke') this.#cutAll(id)
    if (this.size() >= this.#capacity) this.#sweep()
    if (this.size() >= this.#capacity) {
      // What does not fit would be forgotten: refuse service instead.
      this.#full = true
      return
    }
    const entry = { revoked: op === 'revoke', at: Math.max(at, before?.at ?? 0), forgetAt: this.#monotonic() + REVOCATION_RETENTION * 1000 }
    if (entry.revoked && PERMANENT.has(kind)) this.#permanent.set(id, entry)
    else this.#passing.set(id, entry)
  }

  #sweep(): void {
    const now = this.#monotonic()
    for (const [id, entry] of this.#passing) {
      if (entry.forgetAt > now) break
      this.#passing.delete(id)
    }
  }

  #cutAll(id: string): void {
    for (const watcher of [...(this.#watchers.get(id) ?? [])]) this.#cut(watcher, { reason: 'token_revoked', id })
  }

  #cut(watcher: Watcher, why: Cut): void {
    this.#unwatch(watcher)
    watcher.cut(why)
  }

  #unwatch(watcher: Watcher): void {
    this.#streams.delete(watcher)
    for (const id of watcher.ids) {
      const others = this.#watchers.get(id)
      others?.delete(watcher)
      if (others?.size === 0) this.#watchers.delete(id)
    }
  }
}

type Watcher = { readonly ids: readonly string[]; readonly cut: (why: Cut) => void }
