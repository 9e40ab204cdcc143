import fc from 'fast-check'
import { expect, it } from 'vitest'
import { boundLifetime } from './bound-lifetime.ts'

const now = 1_700_000_000
const bounds = fc.array(fc.record({ name: fc.string(), end: fc.integer({ min: now - 100, max: now + 100_000 }) }))
const asked = fc.option(fc.oneof(fc.integer({ min: -10, max: 10_000 }), fc.double()), { nil: undefined })
const fallback = fc.integer({ min: 1, max: 900 })

it('a mandate never outlives what it stands on, what was asked for, or 900 s [P-001]', () => {
  fc.assert(
    fc.property(asked, fallback, bounds, (wanted, otherwise, over) => {
      const result = boundLifetime(wanted, otherwise, over, now)
      if (!result.ok) {
        const possible = Math.floor(Math.min(now + (wanted ?? otherwise), now + 900, ...over.map((b) => b.end)))
        expect(possible > now).toBe(false)
        return
      }
      for (const bound of over) expect(result.value.expiresAt).toBeLessThanOrEqual(bound.end)
      expect(result.value.expiresAt).toBeGreaterThan(now)
      expect(result.value.life).toBeLessThanOrEqual(Math.min(wanted ?? otherwise, 900))
      expect(Number.isInteger(result.value.expiresAt)).toBe(true)
    }),
    { numRuns: 2000 },
  )
})

it('a subject token with 1 s left buys 1 s, and says so [P-001]', () => {
  expect(
    boundLifetime(
      900,
      300,
      [
        { name: 'subject_token', end: now + 1 },
        { name: 'session', end: now + 500 },
      ],
      now,
    ),
  ).toEqual({
    ok: true,
    value: { expiresAt: now + 1, life: 1, clampedBy: 'subject_token' },
  })
})

it.each([
  [undefined, [], 300, null],
  [120, [], 120, null],
  [5000, [], 900, 'maximum'],
  [undefined, [{ name: 'rule:a', end: now + 60 }], 60, 'rule:a'],
  [60, [{ name: 'rule:a', end: now + 60 }], 60, null],
])('asked for %s under %j lives %i s', (wanted, over, life, clampedBy) => {
  expect(boundLifetime(wanted, 300, over, now)).toMatchObject({ ok: true, value: { life, clampedBy } })
})

it.each([[[{ name: 'session', end: now }]], [[{ name: 'session', end: now - 5 }]], [[{ name: 'session', end: Number.NaN }]]])(
  'nothing is minted under %j',
  (over) => {
    expect(boundLifetime(60, 300, over, now)).toEqual({ ok: false, reason: 'lineage_expired', detail: 'session' })
  },
)
