import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { mac, macText, verifyMac, verifyMacText } from './hmac.ts'
import { keyRing } from './key-ring.ts'
import { lengthPrefixed } from './length-prefixed.ts'

const [oldKey, newKey] = [randomBytes(32), randomBytes(32)]
const ring = keyRing(newKey, oldKey)

describe('message authentication', () => {
  test('different lists of fields are different bytes', () => {
    const list = fc.array(fc.string({ maxLength: 5 }), { maxLength: 4 })
    fc.assert(
      fc.property(list, list, (a, b) => {
        expect(lengthPrefixed(a).equals(lengthPrefixed(b))).toBe(JSON.stringify(a) === JSON.stringify(b))
      }),
    )
    expect(mac(ring, ['ab', 'c']).equals(mac(ring, ['a', 'bc']))).toBe(false)
    expect(mac(ring, ['a']).equals(mac(ring, ['a', '']))).toBe(false)
  })

  test('[P-083] in a rotation both keys verify and only the current one signs', () => {
    const fields = ['producer', '1', Buffer.from([0, 255])]
    const old = mac(keyRing(oldKey), fields)
    expect(verifyMac(ring, fields, old)).toBe(true)
    expect(verifyMac(keyRing(newKey), fields, old)).toBe(false)
    expect(mac(ring, fields)).toEqual(mac(keyRing(newKey), fields))
  })

  test.each([
    ['empty', () => ''],
    ['short', (text: string) => text.slice(0, -1)],
    ['long', (text: string) => `${text}A`],
    ['padded', (text: string) => `${text}=`],
    ['another', (text: string) => (text[0] === 'A' ? 'B' : 'A') + text.slice(1)],
    ['standard base64', (text: string) => Buffer.from(text, 'base64url').toString('base64')],
  ])('a MAC text that is %s does not verify', (_what, change) => {
    const text = macText(ring, ['a'])
    expect(verifyMacText(ring, ['a'], text)).toBe(true)
    expect(verifyMacText(ring, ['a'], change(text))).toBe(false)
    expect(verifyMacText(ring, ['b'], text)).toBe(false)
  })

  test('a MAC has one spelling: unused bits of its last character must be zero', () => {
    const text = macText(ring, ['a'])
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const accepted = [...alphabet].filter((last) => verifyMacText(ring, ['a'], text.slice(0, -1) + last))
    expect(accepted).toEqual([text.at(-1)])
  })
})
