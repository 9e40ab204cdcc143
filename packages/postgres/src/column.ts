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

/** A moment for SQL, exact to the microsecond. NaN and infinities throw: a row must not vanish behind "infinity" (P-137). */
export function timestamp(ms: UnixMillis): RawBuilder<never> {
  if (!Number.isFinite(ms)) throw new RangeError(`not a moment: ${ms}`)
  return sql<never>`to_timestamp(${ms}::float8 / 1000)`
}

export function nullableTimestamp(ms: UnixMillis | null | undefined): RawBuilder<never> | null {
  return ms === null || ms === undefined ? null : timestamp(ms)
}

/** Text for a jsonb column. */
export function json(value: unknown): string {
  return JSON.stringify(value)
}
