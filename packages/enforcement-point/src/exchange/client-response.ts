import type { ServerResponse } from 'node:http'
import type { Reason, Resource } from '@caracal/core'
import { announcedTrailers, headersForClient, type RawHeaders, type ResponsePlace, trailersForClient } from '../headers/header-hygiene.ts'
import { EncodedScan } from './encoded-scan.ts'
import { LeakScan, SCANNED_BYTES } from './leak-scan.ts'
import { lingerThenClose } from './linger.ts'

export type ClientResponseOptions = {
  readonly response: ServerResponse
  readonly requestMethod: string
  readonly place: ResponsePlace
  readonly added: readonly string[]
  readonly secrets: readonly string[]
  readonly timeouts: Resource['timeouts']
  readonly pause: () => void
  readonly resume: () => void
  /** Ends the whole exchange. */
  readonly fail: (reason: Reason) => void
}

/** RFC 9112 §4 without obs-text, whose bytes have no meaning that all agree on. Anything else is left out: it says nothing that counts. */
const REASON_PHRASE = /^[\t\x20-\x7e]*$/
/** The trailer that tells a stream cut by us from one that the upstream ended. */
const CUT_TRAILER = 'X-Caracal-Revoked'
/** Hints before an answer: more are a flood, and whoever does not read them would keep them in memory. */
const MOST_INFORMATIONAL = 16
/** A client that does not take the end of a cut stream is dropped after this. Milliseconds. */
const LAST_WORDS_MS = 2_000

/**
 * The way of an upstream's answer to the client. The head waits while an injected credential could still turn up in what came
 * so far: for the whole of a body that says it fits into the scanned part, for the first chunk of others, and not at all for event
 * streams, whose clients wait for the head. After that what passes is delayed by no more than a secret's beginning.
 */
export class ClientResponse {
  readonly #options: ClientResponseOptions
  readonly #response: ServerResponse
  readonly #scan: LeakScan
  #status = 0
  #statusText = ''
  #headers: string[] = []
  #trailerNames: readonly string[] = []
  #hold: 'nothing' | 'first_chunk' | 'whole' = 'nothing'
  readonly #held: Buffer[] = []
  #encoded: EncodedScan | null = null
  #informed = 0
  #begun = false
  #blocked = false
  #bytes = 0
  #idle: NodeJS.Timeout | undefined

  constructor(options: ClientResponseOptions) {
    this.#options = options
    this.#response = options.response
    this.#scan = new LeakScan(options.secrets)
  }

  /** The head is with the client: nothing else can be answered any more. */
  get begun(): boolean {
    return this.#begun
  }

  get status(): number {
    return this.#status
  }

  /** Bytes of the body handed to the client. */
  get bytes(): number {
    return this.#bytes
  }

  /** Early Hints and Processing are relayed (RFC 9110 §15.2); hints that cannot be written are dropped. */
  informational(status: number, raw: RawHeaders): void {
    if (++this.#informed > MOST_INFORMATIONAL) {
      this.#options.fail('upstream_protocol_error')
      return
    }
    if (this.#begun || this.#scan.inHeaders(raw) || this.#response.req.httpVersion !== '1.1') return
    if (status === 102) this.#response.writeProcessing()
    if (status !== 103) return
    const kept = headersForClient(raw, status, this.#options.place)
    const links = kept.filter((_, at) => at % 2 === 1 && kept[at - 1]?.toLowerCase() === 'link')
    try {
      if (links.length > 0) this.#response.writeEarlyHints({ link: links })
    } catch {
      // Hints are optional: what is not a valid Link is nobody's loss.
    }
  }

  head(status: number, statusText: string, raw: RawHeaders): void {
    if (this.#scan.inHeaders([...raw, statusText])) {
      this.#options.fail('upstream_leaked_credential')
      return
    }
    const { place, requestMethod, added, timeouts } = this.#options
    this.#status = status
    this.#statusText = REASON_PHRASE.test(statusText) ? statusText : ''
    this.#headers = [...headersForClient(raw, status, place), ...added]
    const content = requestMethod !== 'HEAD' && status !== 204 && status !== 304
    const length = fieldValue(raw, 'content-length')
    const coding = fieldValues(raw, 'content-encoding')
    if (content && coding.length > 0 && this.#scan.active) this.#encoded = new EncodedScan(coding.join(), this.#scan)
    const events = /^text\/event-stream(?:;|$)/i.test(fieldValue(raw, 'content-type')?.trim() ?? '')
    if (content && length === undefined && this.#response.req.httpVersion !== '1.0')
      this.#trailerNames = [...announcedTrailers(raw), CUT_TRAILER]
    this.#watchIdle((events ? timeouts.stream : timeouts.idle) * 1000)
    if (content && !events && this.#scan.active)
      this.#hold = length !== undefined && Number(length) <= SCANNED_BYTES ? 'whole' : 'first_chunk'
    if (this.#hold !== 'nothing') return
    this.#begin()
    // Content that came along goes out with the head; a head that comes alone does not wait for it.
    if (content) process.nextTick(() => this.#bytes === 0 && !this.#response.writableEnded && this.#response.flushHeaders())
  }

  data(chunk: Buffer): void {
    this.#idle?.refresh()
    const bytes = this.#scan.take(chunk)
    const scanned = bytes.leaked || this.#encoded === null ? bytes : this.#encoded.take(bytes.pass)
    if (scanned.leaked) {
      this.#options.fail('upstream_leaked_credential')
      return
    }
    if (this.#hold === 'whole') {
      this.#held.push(...scanned.pass)
      return
    }
    if (scanned.pass.length === 0) return
    this.#begin()
    for (const part of scanned.pass) this.#write(part)
  }

  /** The answer is complete. */
  finish(rawTrailers: RawHeaders): void {
    const end = this.#scan.finish()
    const taken = end === null ? null : (this.#encoded?.take([end]) ?? { leaked: false, pass: [end] })
    const rest = this.#encoded?.finish()
    if (this.#scan.inHeaders(rawTrailers) || taken?.leaked === true || rest?.leaked === true) {
      this.#options.fail('upstream_leaked_credential')
      return
    }
    clearTimeout(this.#idle)
    this.#begin()
    for (const part of [...this.#held.splice(0), ...(taken?.pass ?? []), ...(rest?.pass ?? [])]) this.#write(part)
    if (this.#trailerNames.length > 0) this.#response.addTrailers(trailersForClient(rawTrailers))
    this.#response.end()
    lingerThenClose(this.#response)
  }

  /** Ends what has begun and cannot be completed. With `announce` an open-ended stream ends properly and says why in its trailer. */
  breakOff(announce: boolean): void {
    this.abandon()
    if (!announce || this.#trailerNames.length === 0) {
      this.#response.destroy()
      return
    }
    this.#response.addTrailers([[CUT_TRAILER, 'true']])
    this.#response.end()
    const drop = setTimeout(() => this.#response.destroy(), LAST_WORDS_MS)
    drop.unref()
    this.#response.once('close', () => clearTimeout(drop))
    lingerThenClose(this.#response)
  }

  /** Forgets what is held and watches nothing any more. */
  abandon(): void {
    clearTimeout(this.#idle)
    this.#held.length = 0
  }

  #begin(): void {
    if (this.#begun) return
    this.#begun = true
    this.#hold = 'nothing'
    const trailers = this.#trailerNames.length > 0 ? ['Trailer', this.#trailerNames.join(', ')] : []
    this.#response.writeHead(this.#status, this.#statusText, [...this.#headers, ...trailers])
  }

  #write(part: Buffer): void {
    this.#bytes += part.length
    if (this.#response.write(part) || this.#blocked) return
    this.#blocked = true
    this.#options.pause()
    this.#response.once('drain', () => {
      this.#blocked = false
      this.#idle?.refresh()
      this.#options.resume()
    })
  }

  #watchIdle(ms: number): void {
    // While the client does not read, the silence is the client's.
    this.#idle = setTimeout(() => this.#options.fail(this.#blocked ? 'client_gone' : 'upstream_timeout'), ms)
    this.#idle.unref()
  }
}

function fieldValues(raw: RawHeaders, name: string): string[] {
  return raw.filter((_, at) => at % 2 === 1 && raw[at - 1]?.toLowerCase() === name)
}

function fieldValue(raw: RawHeaders, name: string): string | undefined {
  for (let at = 0; at < raw.length; at += 2) if (raw[at]?.toLowerCase() === name) return raw[at + 1]
  return undefined
}
