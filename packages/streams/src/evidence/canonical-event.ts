import { canonicalJson, type Event, MAX_EVENT_BYTES, newId, type UnixMillis } from '@caracal/core'
import { type EventDraft, EvidenceUnavailable } from '../evidence-writer.ts'
import { eventText } from './event-text.ts'

export type MadeEvent = { readonly id: Event['id']; readonly zone: Event['zone'] /** RFC 8785. */; readonly text: string }

/** How much of what callers wrote is kept; tried one after the other until the event is small enough. */
const LIMITS = [
  { text: Number.POSITIVE_INFINITY, items: Number.POSITIVE_INFINITY, details: true },
  { text: 4_096, items: 256, details: true },
  { text: 512, items: 32, details: true },
  { text: 64, items: 16, details: false },
] as const

/**
 * Makes the one text of an event. Nothing that a caller sent can make its own event undeliverable (P-097): NUL and halves of
 * characters become U+FFFD, and what is too large is clipped, then left out, with `details.clipped` saying so.
 * @throws EvidenceUnavailable when even that is larger than 64 KiB.
 */
export function makeEvent(draft: EventDraft, service: Event['service'], time: string, now: UnixMillis): MadeEvent {
  const id = newId('event', now)
  const text = eventText({ ...draft, v: 1, id, time, service })
  if (text !== undefined && isSmall(text)) return { id, zone: draft.zone, text }
  return { id, zone: draft.zone, text: clippedText(draft, { v: 1, id, time, service }) }
}

function isSmall(text: string): boolean {
  return text.length <= MAX_EVENT_BYTES / 3 || Buffer.byteLength(text) <= MAX_EVENT_BYTES
}

/** The slow way, which takes whatever there is. */
export function clippedText(draft: EventDraft, given: Pick<Event, 'v' | 'id' | 'time' | 'service'>): string {
  for (const limit of LIMITS) {
    const { details, ...rest } = draft
    const clipped = Number.isFinite(limit.text)
    const kept = limit.details && details !== undefined ? details : {}
    const event = {
      ...(clean(rest, limit) as object),
      ...(clipped || details !== undefined
        ? { details: { ...(clean(kept, limit) as object), ...(clipped ? { clipped: true } : {}) } }
        : {}),
      ...given,
    }
    const text = canonicalJson(event)
    if (isSmall(text)) return text
  }
  throw new EvidenceUnavailable('the event is larger than 64 KiB')
}

type Limit = { readonly text: number; readonly items: number }

function clean(value: unknown, limit: Limit): unknown {
  if (typeof value === 'string') return cleanText(value, limit.text)
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined
  if (Array.isArray(value)) return value.slice(0, limit.items).map((item) => clean(item, limit) ?? null)
  if (typeof value !== 'object' || value === null) return value
  const kept: Record<string, unknown> = {}
  for (const [name, member] of Object.entries(value).slice(0, limit.items)) kept[cleanText(name, limit.text)] = clean(member, limit)
  return kept
}

function cleanText(text: string, most: number): string {
  const clipped = text.length > most ? text.slice(0, most) : text
  const whole = clipped.isWellFormed() ? clipped : clipped.toWellFormed()
  return whole.includes('\0') ? whole.replaceAll('\0', '\uFFFD') : whole
}

/** RFC 3339 in UTC with microseconds; within a process no two moments are alike and they stand in the order they were made. */
export function eventClock(clock: () => UnixMillis): () => { readonly now: UnixMillis; readonly time: string } {
  let last = 0
  let second = Number.NaN
  let written = ''
  return () => {
    const now = clock()
    let micros = Math.floor(now * 1_000)
    // A clock that was set back is believed; one that only stood still is not.
    if (micros <= last && last - micros < 1_000_000) micros = last + 1
    last = micros
    const seconds = Math.floor(micros / 1e6)
    if (seconds !== second) {
      second = seconds
      written = new Date(seconds * 1_000).toISOString().slice(0, -4)
    }
    return { now: Math.floor(now), time: `${written}${String(micros % 1e6).padStart(6, '0')}Z` }
  }
}
