import type { BudgetPeriod, UnixMillis } from '@caracal/core'

/** How a budget's window moves, as its row says it. */
export type SpanRule = { readonly span: 'total' | 'calendar' | 'rolling'; readonly per: BudgetPeriod | null }

/** The span that a call of now is charged to, and the first one that still counts. */
export type SpanNow = { readonly startsAt: UnixMillis; readonly since: UnixMillis }

const HOUR = 3_600_000
const DAY = 24 * HOUR
/** Rolling windows. A month is 30 days. */
const LENGTH: Readonly<Record<BudgetPeriod, number>> = { hour: HOUR, day: DAY, week: 7 * DAY, month: 30 * DAY }

/** A rolling window is counted in this many spans: what was spent leaves it at most one of them late, and never early. */
const SPANS = 60

/** Monday 1970-01-05: weeks of the calendar begin on Mondays. */
const MONDAY = 4 * DAY

/** Which spans count at `now`. Pure; everything in UTC. */
export function spanAt({ span, per }: SpanRule, now: UnixMillis): SpanNow {
  if (span === 'total' || per === null) return { startsAt: 0, since: 0 }
  if (span === 'calendar') {
    const startsAt = calendarStart(per, now)
    return { startsAt, since: startsAt }
  }
  const length = LENGTH[per] / SPANS
  return { startsAt: floorTo(now, length), since: floorTo(now - LENGTH[per], length) }
}

/** When what counts becomes less: the end of a calendar window, the moment that `first` leaves a rolling one. Null: never by itself. */
export function resetsAt({ span, per }: SpanRule, now: UnixMillis, first: UnixMillis | undefined): UnixMillis | null {
  if (span === 'total' || per === null) return null
  if (span === 'calendar') return calendarEnd(per, calendarStart(per, now))
  return first === undefined ? null : first + LENGTH[per] / SPANS + LENGTH[per]
}

/** When nothing that was spent at `at` counts any more. Null: never. */
export function overAt({ span, per }: SpanRule, at: UnixMillis): UnixMillis | null {
  if (span === 'total' || per === null) return null
  if (span === 'calendar') return calendarEnd(per, calendarStart(per, at))
  return floorTo(at, LENGTH[per] / SPANS) + LENGTH[per] + LENGTH[per] / SPANS
}

function calendarStart(per: BudgetPeriod, now: UnixMillis): UnixMillis {
  if (per === 'week') return floorTo(now - MONDAY, LENGTH.week) + MONDAY
  if (per !== 'month') return floorTo(now, LENGTH[per])
  const at = new Date(now)
  return Date.UTC(at.getUTCFullYear(), at.getUTCMonth(), 1)
}

function calendarEnd(per: BudgetPeriod, start: UnixMillis): UnixMillis {
  if (per !== 'month') return start + LENGTH[per]
  const at = new Date(start)
  return Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + 1, 1)
}

function floorTo(ms: UnixMillis, length: number): UnixMillis {
  return Math.floor(ms / length) * length
}
