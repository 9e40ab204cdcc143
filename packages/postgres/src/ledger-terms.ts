import { hash } from 'node:crypto'
import type { Event, ZoneId } from '@caracal/core'

/** Longest value that is searched for; what is longer is found by its beginning. */
export const MAX_SEARCHED = 512

/** A value as search compares it: well-formed, without NUL, its first 512 characters. */
export function searchedValue(value: unknown): string {
  const text = String(value)
  const start = text.length > MAX_SEARCHED ? text.slice(0, MAX_SEARCHED) : text
  const whole = start.includes('\0') ? start.replaceAll('\0', '\ufffd') : start
  return whole.isWellFormed() ? whole : whole.toWellFormed()
}

/** Where an event has what is searched for. The session is the one that acted: the last of its lineage. */
export const SEARCHED = {
  type: (event: Event) => event.type,
  decision: (event: Event) => event.decision,
  reason: (event: Event) => event.reason,
  application: (event: Event) => event.actor?.application,
  subject: (event: Event) => event.actor?.subject,
  session: (event: Event) => (Array.isArray(event.actor?.sessions) ? event.actor.sessions.at(-1) : undefined),
  resource: (event: Event) => event.resource,
  request_id: (event: Event) => event.request_id,
  jti: (event: Event) => event.mandate?.jti,
} as const satisfies Record<string, (event: Event) => unknown>

export type SearchedField = keyof typeof SEARCHED

/** Fields that few events share, by ids: kept apart from the words that many share. */
export const ID_FIELDS = ['request_id', 'jti'] as const
export const WORD_FIELDS = ['type', 'decision', 'reason', 'application', 'subject', 'session', 'resource'] as const

/** Entries of one span have one leading number in their terms: a search takes the log span by span, newest or oldest first. */
const SPAN_BITS = 14
export const SPAN_ENTRIES = 2 ** SPAN_BITS

export function spanOf(seq: number): number {
  return Math.floor(seq / SPAN_ENTRIES)
}

const MOST_KEYS = 50_000
const keys = new Map<string, bigint>()

/** 40 bits for a field and its value in a zone. What collides is told apart by the text of the events. */
export function termKey(zone: ZoneId, field: SearchedField, value: string): bigint {
  const named = `${zone}\0${field}\0${value}`
  const known = keys.get(named)
  if (known !== undefined) return known
  const key = BigInt(`0x${hash('sha256', named, 'hex').slice(0, 10)}`)
  if (keys.size >= MOST_KEYS) keys.clear()
  keys.set(named, key)
  return key
}

/** The term of a key in a span: below 0, so that no term of an id is alike. */
export function termOf(span: number, key: bigint): bigint {
  return -1n - (BigInt(span % 2 ** 23) << 40n) - key
}

/** A `bigint[]` in SQL's own spelling: the drivers disagree on how a JavaScript array becomes one. */
export function termArray(terms: Iterable<bigint>): string {
  return `{${[...terms].join(',')}}`
}
