import { AlreadyClaimed, EvidenceUnavailable } from '../evidence-writer.ts'
import { pause } from '../pause.ts'
import type { Wanted } from '../spool/append-log.ts'
import type { StreamLogger } from '../stream-logger.ts'
import type { Claim } from '../wanted-claim.ts'

type Waiting = {
  readonly text: string
  readonly when: Wanted
  /** What is claimed in the same commit. */
  readonly claim: Claim | null
  readonly at: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export type CommitQueueOptions = {
  /**
   * Commits these texts in order, all or none, with these claims. Returns the keys that others have: then no text was committed. No key
   * stands twice.
   */
  readonly commit: (texts: readonly string[], claims: readonly Claim[]) => Promise<ReadonlySet<string>>
  readonly logger: StreamLogger
  /** How long an effect waits for its commit. Milliseconds. */
  readonly patienceMs: number
  /** What nobody waits for and could not be committed yet is kept up to this length. Bytes, as UTF-16 code units. */
  readonly maxKept: number
}

/** How long an event that nobody waits for waits for others. */
const SOON_MS = 20
/** After a failure the store is asked again so often; in between everything is refused at once. */
const PROBE_MS = 500
/** Commits begin this long after one another: under load what comes meanwhile shares one. Milliseconds. */
const COMMIT_EVERY_MS = 2
/** Most events of one commit. */
const MOST_EVENTS = 4_096
/** Commits that were given up and may still hang in a connection; with so many no new one is tried. */
const MOST_ABANDONED = 3

/**
 * Texts on their way into the store by group commit: one commit serves everything that came while the last one ran. What somebody
 * waits for is rejected when its commit fails or takes too long, for then its effect must not happen; what nobody waits for is
 * kept and tried again until the store is back or there is too much of it.
 */
export class CommitQueue {
  readonly #options: CommitQueueOptions
  #waiting: Waiting[] = []
  /** In the commit that runs. */
  #taken: readonly Waiting[] = []
  #kept = 0
  #running: Promise<void> | null = null
  #timer: NodeJS.Timeout | null = null
  #starting = false
  #begun = Number.NEGATIVE_INFINITY
  #failedAt = Number.NEGATIVE_INFINITY
  #failing = false
  #abandoned = 0
  #closed = false
  /** Closed, and what was left was given up. */
  #ended = false
  #commits = 0
  #errors = 0

  constructor(options: CommitQueueOptions) {
    this.#options = options
  }

  /**
   * Resolves when the text is committed, and what it claims is its.
   * @throws EvidenceUnavailable, or AlreadyClaimed when somebody else has the key: then it is not committed.
   */
  add(text: string, when: Wanted, claim: Claim | null = null): Promise<void> {
    if (this.#closed) return Promise.reject(new EvidenceUnavailable('the evidence writer is closed'))
    if (when === 'now' && !this.writable()) return Promise.reject(new EvidenceUnavailable('the store takes no evidence'))
    if (when === 'soon' && this.#kept + text.length > this.#options.maxKept)
      return Promise.reject(new EvidenceUnavailable('too much evidence waits for the store'))
    return new Promise((resolve, reject) => {
      this.#waiting.push({ text, when, claim, at: performance.now(), resolve, reject })
      this.#kept += text.length
      this.#schedule(when === 'now' ? 0 : SOON_MS)
    })
  }

  /** False while the store is known to be away; the next try shows whether it is back. */
  writable(): boolean {
    return !this.#closed && !(this.#failing && performance.now() - this.#failedAt < PROBE_MS) && this.#abandoned < MOST_ABANDONED
  }

  get commits(): number {
    return this.#commits
  }

  get errors(): number {
    return this.#errors
  }

  get waiting(): number {
    return this.#taken.length + this.#waiting.length
  }

  /** Age of the oldest text that is not committed. Seconds. */
  get oldestSeconds(): number {
    const oldest = this.#taken[0] ?? this.#waiting[0]
    return oldest === undefined ? 0 : (performance.now() - oldest.at) / 1_000
  }

  /** Part of the room for what nobody waits for. */
  get usedRatio(): number {
    return this.#kept / this.#options.maxKept
  }

  /** Lets nothing in any more and commits what it can within `ms`. Returns how many texts are lost. */
  async close(ms: number): Promise<number> {
    this.#closed = true
    const deadline = performance.now() + ms
    const never = new AbortController()
    while ((this.#waiting.length > 0 || this.#running !== null) && performance.now() < deadline) {
      this.#schedule(0)
      await Promise.race([this.#running ?? pause(PROBE_MS / 10, never.signal), pause(deadline - performance.now(), never.signal)])
    }
    if (this.#timer !== null) clearTimeout(this.#timer)
    const left = this.waiting
    this.#rejectAll(this.#waiting.splice(0))
    return left
  }

  /** One commit at a time; `0` is after what came in this turn of the event loop, or the moment that lies between two commits. */
  #schedule(ms: number): void {
    if (this.#running !== null || this.#starting) return
    if (this.#timer !== null) {
      if (ms > 0) return
      clearTimeout(this.#timer)
      this.#timer = null
    }
    const start = () => {
      this.#starting = false
      this.#timer = null
      this.#running = this.#run().finally(() => {
        this.#running = null
        if (this.#waiting.length > 0 && !this.#ended) this.#schedule(this.#nextIn())
      })
    }
    if (ms === 0) {
      this.#starting = true
      const early = this.#begun + COMMIT_EVERY_MS - performance.now()
      if (early <= 0 || this.#closed) setImmediate(start)
      else setTimeout(start, early)
    } else this.#timer = setTimeout(start, ms).unref()
  }

  #nextIn(): number {
    if (this.#failing) return PROBE_MS
    return this.#waiting.some(({ when }) => when === 'now') ? 0 : SOON_MS
  }

  async #run(): Promise<void> {
    let taken = this.#take()
    if (taken.length === 0) return
    this.#begun = performance.now()
    this.#taken = taken
    try {
      for (;;) {
        const claims = taken.flatMap(({ claim }) => (claim === null ? [] : [claim]))
        const lost = await this.#committed(
          taken.map(({ text }) => text),
          claims,
        )
        this.#commits += 1
        if (lost.size === 0) break
        // Nothing was committed. Whoever was late hears of it; the others are committed without them.
        const late = taken.filter(({ claim }) => claim !== null && lost.has(claim.key))
        taken = taken.filter((one) => !late.includes(one))
        this.#taken = taken
        this.#kept -= lengthOf(late)
        for (const one of late) one.reject(new AlreadyClaimed('somebody else has the key'))
        if (taken.length === 0) break
      }
      if (this.#failing) this.#options.logger.info({}, 'evidence is committed again')
      this.#failing = false
      this.#kept -= lengthOf(taken)
      for (const one of taken) one.resolve()
    } catch (error) {
      this.#errors += 1
      if (!this.#failing) this.#options.logger.warn({ err: error }, 'evidence cannot be committed; effects are refused until it can')
      this.#failing = true
      this.#failedAt = performance.now()
      this.#refuse([...taken, ...this.#waiting], new EvidenceUnavailable('the store takes no evidence', { cause: error }))
      if (this.#ended) this.#rejectAll(this.#waiting.splice(0))
    } finally {
      this.#taken = []
    }
  }

  /** What goes into the next commit. Of two who want one key the second waits for the commit after. */
  #take(): readonly Waiting[] {
    const keys = new Set<string>()
    const taken: Waiting[] = []
    const left: Waiting[] = []
    for (const one of this.#waiting) {
      const claimed = one.claim !== null && keys.has(one.claim.key)
      if (one.claim !== null) keys.add(one.claim.key)
      if (claimed || taken.length === MOST_EVENTS) left.push(one)
      else taken.push(one)
    }
    this.#waiting = left
    return taken
  }

  #rejectAll(all: readonly Waiting[]): void {
    this.#ended = true
    for (const one of all) one.reject(new EvidenceUnavailable('the evidence writer is closed'))
  }

  /** Whoever waits hears of it; the rest waits on. */
  #refuse(all: readonly Waiting[], refusal: EvidenceUnavailable): void {
    const refused = all.filter(({ when }) => when === 'now')
    this.#waiting = all.filter(({ when }) => when === 'soon')
    this.#kept -= lengthOf(refused)
    for (const one of refused) one.reject(refusal)
  }

  #committed(texts: readonly string[], claims: readonly Claim[]): Promise<ReadonlySet<string>> {
    const { patienceMs } = this.#options
    return new Promise((resolve, reject) => {
      let late = false
      const patience = setTimeout(() => {
        late = true
        this.#abandoned += 1
        reject(new Error(`no commit within ${patienceMs} ms`))
      }, patienceMs)
      const over = () => {
        clearTimeout(patience)
        if (late) this.#abandoned -= 1
      }
      this.#options.commit(texts, claims).then(
        (lost) => {
          over()
          resolve(lost)
        },
        (error: unknown) => {
          over()
          reject(error)
        },
      )
    })
  }
}

function lengthOf(taken: readonly Waiting[]): number {
  return taken.reduce((sum, { text }) => sum + text.length, 0)
}
