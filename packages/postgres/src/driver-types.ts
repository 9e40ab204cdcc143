import type { UnixMillis } from '@caracal/core'
import pg from 'pg'

/** Type numbers of pg_type that are read differently from what the drivers would do by themselves. */
const INT8 = 20
const NUMERIC = 1700
const DATE = 1082
const TIMESTAMP = 1114
const TIMESTAMPTZ = 1184

const MOMENT = /^(\d{4,6})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?$/

/** timestamptz in ISO output style → milliseconds, microseconds as the fraction. Infinity and years before 1 throw (P-137). */
export function parseTimestamptz(text: string): UnixMillis {
  const found = MOMENT.exec(text)
  if (!found) throw new RangeError(`not a moment that can be read: ${text}`)
  const [, year, month, day, hour, minute, second, fraction, sign, ...offset] = found
  const [hours = 0, minutes = 0, seconds = 0] = offset.map((part) => Number(part ?? 0))
  const local = new Date(0)
  local.setUTCFullYear(Number(year), Number(month) - 1, Number(day))
  local.setUTCHours(Number(hour), Number(minute), Number(second))
  const east = (hours * 3600 + minutes * 60 + seconds) * 1000 * (sign === '-' ? -1 : 1)
  const micros = Number((fraction ?? '').padEnd(6, '0'))
  const ms = local.getTime() - east + Math.floor(micros / 1000) + (micros % 1000) / 1000
  if (!Number.isFinite(ms)) throw new RangeError(`not a moment that can be read: ${text}`)
  return ms
}

/** bigint → number; what a number cannot hold exactly throws instead of being rounded. */
export function parseBigint(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) throw new RangeError(`bigint ${text} is beyond what a number holds exactly`)
  return value
}

function refuseTimestamp(text: string): never {
  throw new TypeError(`a timestamp without time zone is no moment: ${text}`)
}

/** How each driver type becomes a value, by type number; the same for both drivers. */
export const PARSERS: Readonly<Record<number, (text: string) => unknown>> = {
  [INT8]: parseBigint,
  [NUMERIC]: String,
  [DATE]: String,
  [TIMESTAMP]: refuseTimestamp,
  [TIMESTAMPTZ]: parseTimestamptz,
}

/** The same for `pg`. Everything else stays as `pg` has it. */
export const PG_TYPES: pg.CustomTypesConfig = {
  getTypeParser: (oid, format) => (format !== 'binary' && PARSERS[oid]) || pg.types.getTypeParser(oid, format),
}
