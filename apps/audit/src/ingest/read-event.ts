import { EVENT_TYPES, type Event, isId, isReason, MAX_EVENT_BYTES } from '@caracal/core'

/** An event of the catalogue, or what is wrong with it: a word for the quarantine, never content. */
export type EventReading = { readonly ok: true; readonly event: Event } | { readonly ok: false; readonly problem: string }

/** RFC 3339 in UTC with up to microseconds: what producers write and Postgres takes. */
const TIME = /^[12]\d{3}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?Z$/

const DECISIONS: readonly unknown[] = ['allow', 'hold', 'deny']

/** Reads the exact text of an event that was authenticated. Checks all that the ledger relies on (P-097). */
export function readEvent(text: string): EventReading {
  if (text.length > MAX_EVENT_BYTES / 4 && Buffer.byteLength(text) > MAX_EVENT_BYTES) return wrong('too_large')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return wrong('not_json')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return wrong('not_an_object')
  const event = value as Partial<Record<keyof Event, unknown>>
  if (event.v !== 1) return wrong('unknown_version')
  if (!isId('event', event.id)) return wrong('bad_id')
  if (!isId('zone', event.zone)) return wrong('bad_zone')
  if (typeof event.type !== 'string' || !Object.hasOwn(EVENT_TYPES, event.type)) return wrong('unknown_type')
  if (typeof event.time !== 'string' || !isTime(event.time)) return wrong('bad_time')
  if (event.decision !== undefined && !DECISIONS.includes(event.decision)) return wrong('unknown_decision')
  if (event.reason !== undefined && (typeof event.reason !== 'string' || !isReason(event.reason))) return wrong('unknown_reason')
  return { ok: true, event: value as Event }
}

/** The second that was found right last: events come many in a second. */
let rightSecond = ''

function isTime(time: string): boolean {
  if (!TIME.test(time)) return false
  const second = time.slice(0, 19)
  if (second === rightSecond) return true
  if (Number.isNaN(Date.parse(time))) return false
  rightSecond = second
  return true
}

function wrong(problem: string): EventReading {
  return { ok: false, problem }
}
