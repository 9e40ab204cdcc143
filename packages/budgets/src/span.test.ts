import type { BudgetPeriod } from '@caracal/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { resetsAt, spanAt } from './span.ts'

const at = (text: string) => Date.parse(text)
const iso = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString())

describe('windows', () => {
  test.each([
    ['hour', '2026-03-17T10:59:59.999Z', '2026-03-17T10:00:00.000Z', '2026-03-17T11:00:00.000Z'],
    ['hour', '2026-03-17T11:00:00.000Z', '2026-03-17T11:00:00.000Z', '2026-03-17T12:00:00.000Z'],
    ['day', '2026-03-17T23:59:59.999Z', '2026-03-17T00:00:00.000Z', '2026-03-18T00:00:00.000Z'],
    ['week', '2026-03-22T23:59:59.999Z', '2026-03-16T00:00:00.000Z', '2026-03-23T00:00:00.000Z'],
    ['week', '2026-03-23T00:00:00.000Z', '2026-03-23T00:00:00.000Z', '2026-03-30T00:00:00.000Z'],
    ['month', '2028-02-29T23:59:59.999Z', '2028-02-01T00:00:00.000Z', '2028-03-01T00:00:00.000Z'],
    ['month', '2026-12-31T00:00:00.000Z', '2026-12-01T00:00:00.000Z', '2027-01-01T00:00:00.000Z'],
  ] as const)('of the calendar: the %s of %s', (per, now, start, end) => {
    const span = spanAt({ span: 'calendar', per }, at(now))
    expect([iso(span.startsAt), iso(span.since)]).toEqual([start, start])
    expect(iso(resetsAt({ span: 'calendar', per }, at(now), undefined))).toBe(end)
  })

  test('in total nothing is ever over', () => {
    expect(spanAt({ span: 'total', per: null }, at('2026-03-17T10:00:00Z'))).toEqual({ startsAt: 0, since: 0 })
    expect(resetsAt({ span: 'total', per: null }, 0, 0)).toBeNull()
  })

  const LENGTH = { hour: 3_600_000, day: 86_400_000, week: 7 * 86_400_000, month: 30 * 86_400_000 }

  test('rolling: what was spent counts for at least the window, and at most a sixtieth longer', () => {
    fc.assert(
      fc.property(
        fc.constantFrom<BudgetPeriod>('hour', 'day', 'week', 'month'),
        fc.integer({ min: 0, max: 4e12 }),
        fc.double({ min: 0, max: 1.2, noNaN: true }),
        (per, spentAt, later) => {
          const rule = { span: 'rolling', per } as const
          const { startsAt } = spanAt(rule, spentAt)
          const now = spentAt + Math.floor(later * LENGTH[per])
          const counts = startsAt >= spanAt(rule, now).since
          if (now - spentAt < LENGTH[per]) expect(counts).toBe(true)
          if (now - spentAt > LENGTH[per] + LENGTH[per] / 60) expect(counts).toBe(false)
          const leaves = resetsAt(rule, now, startsAt) ?? 0
          expect(startsAt >= spanAt(rule, leaves).since).toBe(false)
          expect(startsAt >= spanAt(rule, leaves - 1).since).toBe(true)
        },
      ),
    )
  })
})
