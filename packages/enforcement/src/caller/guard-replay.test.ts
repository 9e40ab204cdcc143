import { newId } from '@caracal/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AHEAD, oneTimeUse, rememberUses } from './guard-replay.ts'
import type { ProvenCaller } from './proven-caller.ts'

const NOW = 1_700_000_000
const rules = { window: 300, nonceTtl: 360 }
const caller: ProvenCaller = {
  zone: newId('zone'),
  application: newId('application'),
  credential: { kind: 'jwt', id: 'k' },
  expiresAt: null,
  use: { key: 'jti:1', ttl: 60 },
}
const presented = (...rawHeaders: string[]) => ({ rawHeaders, certificate: () => null })
const NONCE = 'n'.repeat(16)
const at = (seconds: number) => presented('X-Caracal-Nonce', NONCE, 'x-caracal-timestamp', String(seconds))

describe('what makes a request one of its kind', () => {
  test('[4-15] a request counts exactly from the window before to a minute ahead, and its nonce is remembered beyond that', () => {
    fc.assert(
      fc.property(fc.integer({ min: -1_000, max: 1_000 }), (offset) => {
        const found = oneTimeUse(caller, at(NOW + offset), NOW * 1000, rules)
        const counts = offset >= -rules.window && offset <= AHEAD
        expect(found.ok ? 'counts' : found.reason).toBe(counts ? 'counts' : 'timestamp_outside_window')
        // The last moment at which the same request would count lies before the nonce is forgotten.
        if (found.ok) expect(offset + rules.window).toBeLessThanOrEqual(found.value.ttl)
      }),
    )
  })

  test('the id of a credential serves where no header is sent, and only then', () => {
    const found = (...headers: string[]) => oneTimeUse(caller, presented(...headers), NOW * 1000, rules)
    expect(found()).toEqual({ ok: true, value: caller.use })
    expect(found('X-Caracal-Nonce', NONCE)).toMatchObject({ reason: 'nonce_required' })
    expect(found('X-Caracal-Timestamp', String(NOW))).toMatchObject({ reason: 'nonce_required' })
    expect(oneTimeUse({ ...caller, use: null }, presented(), NOW * 1000, rules)).toMatchObject({ reason: 'nonce_required' })
  })

  test('nonces of two applications are two', () => {
    const other = { ...caller, application: newId('application') }
    const keys = [caller, other].map((one) => oneTimeUse(one, at(NOW), NOW * 1000, rules))
    expect(keys[0]).not.toEqual(keys[1])
  })
})

describe('what a replica remembers by itself', () => {
  const store = () => {
    const held = new Map<string, string>()
    let asked = 0
    return {
      asked: () => asked,
      claim: async (key: string, owner: string) => {
        asked += 1
        const before = held.get(key)
        if (before === undefined) held.set(key, owner)
        return before === undefined || before === owner
      },
      release: async (key: string, owner: string) => {
        if (held.get(key) === owner) held.delete(key)
      },
    }
  }

  test('it refuses what it knows without asking, gives back what is given back, and never grants by itself', async () => {
    const shared = store()
    const [one, two] = [rememberUses(shared, 10), rememberUses(shared, 10)]
    expect(await one.claim('a', 'r1', 1)).toBe(true)
    const before = shared.asked()
    expect(await one.claim('a', 'r2', 1)).toBe(false)
    expect(shared.asked()).toBe(before)
    expect(await two.claim('a', 'r3', 1)).toBe(false)
    expect(await one.claim('a', 'r1', 1)).toBe(true)
    await one.release('a', 'r1')
    expect(await two.claim('a', 'r4', 1)).toBe(true)
    expect(await one.claim('a', 'r5', 1)).toBe(false)
  })

  test('it holds as many as it may', async () => {
    const shared = store()
    const small = rememberUses(shared, 2)
    for (const key of ['a', 'b', 'c']) await small.claim(key, key, 1)
    expect(small.remembered()).toBe(2)
    expect(await small.claim('a', 'z', 1)).toBe(false)
    const none = rememberUses(shared, 0)
    await none.claim('d', 'd', 1)
    expect(none.remembered()).toBe(0)
  })
})
