import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { deriveKey, deriveRing, KEY_PURPOSES, type KeyPurpose } from './derive.ts'
import { findKey, keyRing, parseKeyRing } from './key-ring.ts'
import { keyWeakness } from './weak-key.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const text = (value: string) => Buffer.from(value.padEnd(32, '\0').slice(0, 32))

describe('weak keys', () => {
  test.each([
    ['31 bytes', randomBytes(31), 'is 31 bytes long, 32 are needed'],
    ['none', Buffer.alloc(0), 'is 0 bytes long, 32 are needed'],
    ['33 bytes', randomBytes(33), 'is 33 bytes long, exactly 32 are used'],
    ['zero', Buffer.alloc(32), 'is all zero'],
    ['one byte', Buffer.alloc(32, 0xa5), 'repeats one byte'],
    ['two bytes', Buffer.alloc(32, 'ab12', 'hex'), 'repeats 2 bytes'],
    ['deadbeef', Buffer.alloc(32, 'deadbeef', 'hex'), 'repeats 4 bytes'],
    ['16 bytes twice', Buffer.alloc(32, '0f1e2d3c4b5a69788796a5b4c3d2e1f0', 'hex'), 'repeats 16 bytes'],
    ['counting up', Buffer.from([...Array(32).keys()]), 'is a sequence'],
    ['counting up past 255', Buffer.from([...Array(32).keys()].map((n) => n + 240)), 'is a sequence'],
    ['counting down', Buffer.from([...Array(32).keys()].reverse()), 'is a sequence'],
    ['steps of 17', Buffer.from([...Array(32).keys()].map((n) => n * 17)), 'is a sequence'],
    ['change-me', text('change-me'), 'is printable text, not random bytes'],
    ['change-me in full', text('change-me-change-me-change-me-32b'), 'is printable text, not random bytes'],
    ['a hex string as bytes', text('9f86d081884c7d659a2feaa0c55ad015'), 'is printable text, not random bytes'],
    ['few values', Buffer.from([...Array(32).keys()].map((n) => 128 + ((n * n) % 13))), 'has too few different bytes'],
  ])('[P-083] %s is refused with the reason', (_what, key, reason) => {
    expect(keyWeakness(key)).toBe(reason)
  })

  test('[P-083] random keys pass', () => {
    for (let i = 0; i < 2000; i += 1) expect(keyWeakness(randomBytes(32))).toBeNull()
  })
})

describe('key rings', () => {
  test('a ring holds the current key and, in a rotation, the previous one, each under an id that does not tell it', () => {
    const [a, b] = [randomBytes(32), randomBytes(32)]
    const ring = parseKeyRing({ current: `${hex(a)}\n`, previous: hex(b) })
    if (!ring.ok) throw new Error(ring.problem)
    expect(ring.value.current.id).toMatch(/^[0-9a-f]{8}$/)
    expect(findKey(ring.value, ring.value.current.id)?.bytes).toEqual(a)
    expect(findKey(ring.value, ring.value.previous?.id ?? '')?.bytes).toEqual(b)
    expect(findKey(ring.value, '00000000')).toBeNull()
  })

  test.each([
    ['no hex', 'change-me', undefined, 'the key is not hex'],
    ['odd hex', 'abc', undefined, 'the key is not hex'],
    ['a weak key', '00'.repeat(32), undefined, 'the key is all zero'],
    ['a weak previous key', hex(randomBytes(32)), '00'.repeat(32), 'the previous key is all zero'],
  ])('%s is refused', (_what, current, previous, problem) => {
    expect(parseKeyRing({ current, previous })).toEqual({ ok: false, problem })
  })

  test('the same key as current and previous is no rotation', () => {
    const key = hex(randomBytes(32))
    expect(parseKeyRing({ current: key, previous: key }).ok).toBe(false)
  })

  test('a problem never contains the key', () => {
    const current = Buffer.alloc(32, 'deadbeef', 'hex').toString('hex')
    expect(JSON.stringify(parseKeyRing({ current }))).not.toContain('deadbeef')
    expect(() => keyRing(Buffer.alloc(32))).toThrow('a key is all zero')
  })

  test('[P-083] every purpose and context has its own key; ids stay those of the configured keys', () => {
    const ring = keyRing(randomBytes(32), randomBytes(32))
    const purposes = Object.keys(KEY_PURPOSES) as KeyPurpose[]
    const derived = purposes.flatMap((purpose) =>
      ['', 'zon_a', 'zon_b'].map((context) => hex(deriveKey(ring.current.bytes, purpose, context))),
    )
    expect(new Set([...derived, hex(ring.current.bytes)]).size).toBe(purposes.length * 3 + 1)
    const sts = deriveRing(ring, 'sts')
    expect([sts.current.id, sts.previous?.id]).toEqual([ring.current.id, ring.previous?.id])
  })

  test('derivation is stable across releases', () => {
    const key = Buffer.from('6b8f2d4c9a01e3577fd2b0c4981e66a35d40f7c82b19ae043c7765d0918f2ea1', 'hex')
    expect(hex(deriveKey(key, 'sts'))).toBe('f3767e142d72e369624d382354762e49963fbc513c21fa85dd332eb1bc9378b5')
    expect(hex(deriveKey(key, 'evidence', 'zon_a'))).toBe('c70c3b69cca3968f78bb91f6b497248dc64ebffa1bf8bc50219a51975bf00567')
  })
})
