/** How much of a body is looked through (P-070). */
export const SCANNED_BYTES = 64 * 1024

/** Shorter texts stand in ordinary content by chance. */
const MIN_SECRET_BYTES = 8

/**
 * What passes of a chunk now. `held` bytes at its end could be the beginning of a secret: they wait for the next chunk,
 * so that a secret split over chunks never gets out, and everything else passes without delay.
 */
export type Scanned = { readonly leaked: true } | { readonly leaked: false; readonly pass: readonly Buffer[] }

type LookedFor = { readonly texts: readonly string[]; readonly needles: readonly Buffer[] }

const NOTHING: LookedFor = { texts: [], needles: [] }

/** Credentials come again with every call: what is looked for is worked out once for each. */
const known = new Map<string, LookedFor>()
const MOST_KNOWN = 1_000

function lookedFor(secrets: readonly string[]): LookedFor {
  const key = secrets.join('\n')
  const before = known.get(key)
  if (before !== undefined) return before
  const texts = [...new Set(secrets)].filter((secret) => Buffer.byteLength(secret) >= MIN_SECRET_BYTES)
  const found = { texts, needles: texts.map((text) => Buffer.from(text, 'utf8')) }
  if (known.size >= MOST_KNOWN) known.clear()
  known.set(key, found)
  return found
}

/** Looks for injected credentials in what an upstream sends back. One for each response. */
export class LeakScan {
  readonly #needles: readonly Buffer[]
  readonly #texts: readonly string[]
  #scanned = 0
  #held: Buffer | null = null

  constructor(secrets: readonly string[]) {
    const { texts, needles } = secrets.length === 0 ? NOTHING : lookedFor(secrets)
    this.#texts = texts
    this.#needles = needles
  }

  /** Whether there is anything to look for. */
  get active(): boolean {
    return this.#needles.length > 0 && this.#scanned < SCANNED_BYTES
  }

  /** Whether a name or value of a flat header list contains a secret. */
  inHeaders(raw: readonly string[]): boolean {
    return this.#texts.some((secret) => raw.some((text) => text.includes(secret)))
  }

  /** Whether bytes that are only looked at contain a secret. */
  inBytes(bytes: Buffer): boolean {
    return this.#needles.some((needle) => bytes.includes(needle))
  }

  /** Whether bytes that are only looked at end in what could become a secret. */
  endsInBeginning(bytes: Buffer): boolean {
    return longestBeginning(bytes, this.#needles) > 0
  }

  /** Takes the next chunk of the body. */
  take(chunk: Buffer): Scanned {
    if (!this.active) return { leaked: false, pass: this.#release(chunk) }
    const text = this.#held === null ? chunk : Buffer.concat([this.#held, chunk])
    this.#held = null
    this.#scanned += chunk.length
    if (this.inBytes(text)) return { leaked: true }
    const hold = this.#scanned < SCANNED_BYTES ? longestBeginning(text, this.#needles) : 0
    if (hold === 0) return { leaked: false, pass: [text] }
    this.#held = text.subarray(text.length - hold)
    return { leaked: false, pass: hold === text.length ? [] : [text.subarray(0, text.length - hold)] }
  }

  /** What was held when the body ended. */
  finish(): Buffer | null {
    const held = this.#held
    this.#held = null
    return held
  }

  #release(chunk: Buffer): readonly Buffer[] {
    const held = this.finish()
    return held === null ? [chunk] : [held, chunk]
  }
}

/** Length of the longest end of `text` that is the beginning of a needle. */
function longestBeginning(text: Buffer, needles: readonly Buffer[]): number {
  let longest = 0
  for (const needle of needles) {
    const from = Math.max(0, text.length - needle.length + 1)
    // Hardly any end of a text has even the first byte of a credential in it.
    for (let at = text.indexOf(needle[0] ?? 0, from); at !== -1 && text.length - at > longest; at = text.indexOf(needle[0] ?? 0, at + 1))
      if (text.compare(needle, 0, text.length - at, at) === 0) longest = text.length - at
  }
  return longest
}
