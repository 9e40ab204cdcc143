import { MAX_MANDATE_LIFE } from '@caracal/core'
import { describe, expect, it } from 'vitest'
import { earliestRotation, type KeyRow, PUBLISH_AHEAD, planKeys, publishedKeys, ROTATE_EVERY } from './key-schedule.ts'

/** Applies plans as the store does, with a hand-turned clock. */
function keySet() {
  let rows: KeyRow[] = []
  let made = 0
  return {
    rows: () => rows,
    current: () => rows.find((row) => row.state === 'current')?.kid,
    published: () => publishedKeys(rows).map((row) => row.kid),
    tick(now: number) {
      for (const change of planKeys(rows, now)) {
        if (change.kind === 'create') {
          made += 1
          rows.push({ kid: `k${made}`, state: change.state, createdAt: now, activatesAt: change.activatesAt, retiresAt: null })
        } else if (change.kind === 'retire') {
          rows = rows.map((row) => (row.kid === change.kid ? { ...row, state: 'retired' } : row))
        } else {
          rows = rows.map((row) => {
            if (row.kid === change.replaces) return { ...row, state: 'previous', retiresAt: change.publishedUntil }
            return row.kid === change.kid ? { ...row, state: 'current', activatesAt: now } : row
          })
        }
      }
    },
    rotate(now: number) {
      rows = rows.map((row) => (row.state === 'next' ? { ...row, activatesAt: earliestRotation(row, now) } : row))
      this.tick(now)
    },
  }
}

describe('life of signing keys', () => {
  it('makes a key that signs at once and the next one, and nothing more when asked again', () => {
    const set = keySet()
    set.tick(0)
    expect(set.rows().map(({ state }) => state)).toEqual(['current', 'next'])
    set.tick(1)
    expect(set.rows()).toHaveLength(2)
  })

  it('rotates by itself after thirty days', () => {
    const set = keySet()
    set.tick(0)
    set.tick(ROTATE_EVERY * 1000 - 1)
    expect(set.current()).toBe('k1')
    set.tick(ROTATE_EVERY * 1000)
    expect(set.current()).toBe('k2')
    expect(set.published()).toEqual(['k3', 'k2', 'k1'])
  })

  it('[P-011] five rotations inside one mandate life refuse no mandate at verifiers with five-minute caches', () => {
    const set = keySet()
    set.tick(0)
    const verifiers = [0, 100, 200].map((offset) => ({ refreshAt: offset * 1000, keys: set.published() }))
    const mandates: { kid: string; expires: number }[] = []
    const asked = [60, 200, 400, 620, 850].map((second) => second * 1000)
    for (let now = 0; now <= 4000_000; now += 1000) {
      set.tick(now)
      if (asked.includes(now)) set.rotate(now)
      for (const verifier of verifiers) {
        if (now < verifier.refreshAt) continue
        verifier.keys = set.published()
        verifier.refreshAt += 300_000
      }
      const kid = set.current()
      if (kid !== undefined && now <= 2000_000) mandates.push({ kid, expires: now + MAX_MANDATE_LIFE * 1000 })
      while (mandates[0] !== undefined && mandates[0].expires <= now) mandates.shift()
      for (const kid of new Set(mandates.map((mandate) => mandate.kid))) {
        for (const verifier of verifiers) expect(verifier.keys, `second ${now / 1000}`).toContain(kid)
      }
    }
    expect(set.rows().filter(({ state }) => state === 'retired').length).toBeGreaterThan(0)
  })

  it('[P-011] never lets a key sign that was published for less than ten minutes, however often a rotation is asked for', () => {
    const set = keySet()
    set.tick(0)
    const promotions: number[] = []
    for (let now = 0; now < 7200_000; now += 1000) {
      const before = set.current()
      set.tick(now)
      set.rotate(now)
      if (set.current() !== before) promotions.push(now)
    }
    for (const row of set.rows()) {
      if (row.state !== 'next' && row.kid !== 'k1') expect(row.activatesAt - row.createdAt).toBeGreaterThanOrEqual(PUBLISH_AHEAD * 1000)
    }
    expect(promotions.length).toBeGreaterThan(5)
  })
})
