import type { UnixMillis } from '@caracal/core'
import { type ColumnType, type RawBuilder, sql } from 'kysely'

declare const moment: unique symbol

/** What a timestamptz column takes: made by `timestamp`, never a bare number. */
export type Moment = { readonly [moment]: true }

/** timestamptz. Read: milliseconds since the epoch; microseconds stay as the fraction. */
export type Timestamp = ColumnType<UnixMillis, Moment, Moment>
export type NullableTimestamp = ColumnType<UnixMillis | null, Moment | null | undefined, Moment | null>
/** timestamptz that the database fills when nothing is given. */
export type DefaultedTimestamp = ColumnType<UnixMillis, Moment | undefined, Moment>

/** jsonb. Written as JSON text, because the drivers disagree on what a JavaScript array is. */
export type Json<T> = ColumnType<T, string, string>
export type NullableJson<T> = ColumnType<T | null, string | null | undefined, string | null>

/** A column that the database fills when nothing is given. */
export type Defaulted<T> = ColumnType<T, T | undefined, T>

/** What both JavaScript and Postgres hold. */
const FIRST: UnixMillis = Date.parse('0001-01-01T00:00:00Z')
const LAST: UnixMillis = 8.64e15

/**
 * A moment for SQL, exact to the microsecond. NaN, infinities and years before 1 throw: a row must not vanish behind
 * "infinity" (P-137).
 */
export function timestamp(ms: UnixMillis): RawBuilder<never> {
  if (!(ms >= FIRST && ms <= LAST)) throw new RangeError(`not a moment: ${ms}`)
  let whole = Math.floor(ms)
  let micros = Math.round((ms - whole) * 1000)
  if (micros === 1000) {
    whole += 1
    micros = 0
  }
  // Postgres takes years of six digits, but no sign before them.
  const text = new Date(whole)
    .toISOString()
    .replace(/^\+0?/, '')
    .replace('Z', `${String(micros).padStart(3, '0')}Z`)
  return sql<never>`${text}::timestamptz`
}

export function nullableTimestamp(ms: UnixMillis | null | undefined): RawBuilder<never> | null {
  return ms === null || ms === undefined ? null : timestamp(ms)
}

/** Text for a jsonb column. */
export function json(value: unknown): string {
  return JSON.stringify(value)
}
