import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { deriveRing } from './derive.ts'
import { envelopeKeyId, reseal, type SealPlace, seal, unseal, unsealText } from './envelope.ts'
import { keyRing } from './key-ring.ts'

const [oldKey, newKey] = [randomBytes(32), randomBytes(32)]
const ring = keyRing(newKey, oldKey)
const before = keyRing(oldKey)
const after = keyRing(newKey)
const place: SealPlace = { zone: 'zon_a', table: 'providers', row: 'prv_1', column: 'secret', version: 3 }

describe('sealed values', () => {
  test('what was sealed opens at its place, byte for byte', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const opened = unseal(ring, place, seal(ring, place, bytes))
        expect(opened.ok && Buffer.compare(opened.value, bytes) === 0).toBe(true)
      }),
    )
    expect(unsealText(ring, place, seal(ring, place, 'schlüssel'))).toEqual({ ok: true, value: 'schlüssel' })
  })

  test('[P-082] a fresh data key per write: equal secrets give unrelated envelopes', () => {
    const envelopes = new Set(Array.from({ length: 100 }, () => seal(ring, place, 'same')))
    expect(envelopes.size).toBe(100)
    const parts = [...envelopes].flatMap((envelope) => envelope.split('.').slice(2))
    expect(new Set(parts).size).toBe(200)
  })

  test.each([
    ['another zone', { zone: 'zon_b' }],
    ['another table', { table: 'zone_keys' }],
    ['another row', { row: 'prv_2' }],
    ['another column', { column: 'token' }],
    ['a later version of the row', { version: 4 }],
    ['an earlier version of the row', { version: 2 }],
    ['fields shifted across their borders', { table: 'providersp', row: 'rv_1' }],
  ])('[P-082] an envelope moved to %s does not open', (_what, change) => {
    const text = seal(ring, place, 'secret')
    expect(unseal(ring, { ...place, ...change }, text)).toEqual({ ok: false, problem: 'not_authentic' })
  })

  test('[P-082] swapped parts of two envelopes of the same place do not open', () => {
    const [a, b] = [seal(ring, place, 'one').split('.'), seal(ring, place, 'two').split('.')]
    expect(unseal(ring, place, [a[0], a[1], a[2], b[3]].join('.')).ok).toBe(false)
    expect(unseal(ring, place, [a[0], a[1], b[2], a[3]].join('.')).ok).toBe(false)
  })

  test('any flipped bit of any part is noticed', () => {
    const text = seal(ring, place, 'secret')
    const [form, id, ...parts] = text.split('.')
    for (const [at, part] of parts.entries()) {
      const bytes = Buffer.from(part, 'base64url')
      for (let byte = 0; byte < bytes.length; byte += 1) {
        const changed = Buffer.from(bytes)
        changed[byte] = (changed[byte] ?? 0) ^ 1
        const text2 = [form, id, ...parts.with(at, changed.toString('base64url'))].join('.')
        expect(unseal(ring, place, text2)).toEqual({ ok: false, problem: 'not_authentic' })
      }
    }
  })

  test('only the named key is tried: the id of the other key does not open it, an unknown id says so', () => {
    const text = seal(ring, place, 'secret')
    expect(unseal(before, place, text)).toEqual({ ok: false, problem: 'unknown_key' })
    expect(unseal(ring, place, text.replace(ring.current.id, before.current.id))).toEqual({ ok: false, problem: 'not_authentic' })
  })

  test('purposes do not open each other', () => {
    const text = seal(deriveRing(ring, 'sts'), place, 'secret')
    expect(unseal(deriveRing(ring, 'ledger'), place, text)).toEqual({ ok: false, problem: 'not_authentic' })
  })

  test.each([
    '',
    'csv1',
    'csv2.00000000.AAAA.AAAA',
    'csv1.0000.AAAA.AAAA',
    'csv1.00000000.AA=A.AAAA',
    'csv1.00000000.AAAA.AAAA.AAAA',
    'secret',
  ])('what is no envelope is malformed: %j', (text) => {
    expect(unseal(ring, place, text)).toEqual({ ok: false, problem: 'malformed' })
    expect(envelopeKeyId(text)).toBeNull()
  })

  test('[P-083] in a rotation old envelopes open, resealing moves them to the current key and row version, then the old key can go', () => {
    const old = seal(before, place, 'secret')
    expect(unsealText(ring, place, old)).toEqual({ ok: true, value: 'secret' })
    const fresh = reseal(ring, place, { ...place, version: 4 }, old)
    if (!fresh.ok) throw new Error(fresh.problem)
    expect(envelopeKeyId(fresh.value)).toBe(after.current.id)
    expect(unsealText(after, { ...place, version: 4 }, fresh.value)).toEqual({ ok: true, value: 'secret' })
    expect(reseal(after, place, place, old)).toEqual({ ok: false, problem: 'unknown_key' })
  })
})
