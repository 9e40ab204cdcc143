import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ID_PREFIXES, type IdKind, isId, looksLikeId, newId } from './id.ts'

/** Milliseconds and the last ten bytes of a UUID, as `newId` takes them. */
function partsOf(uuid: string): [number, Uint8Array] {
  const hex = uuid.replaceAll('-', '')
  return [Number.parseInt(hex.slice(0, 12), 16), Buffer.from(hex.slice(12), 'hex')]
}

/** The reverse of the encoding, written apart from it: base 32 as one big number. */
function uuidOf(id: string): string {
  const suffix = id.slice(id.lastIndexOf('_') + 1)
  const value = [...suffix].reduce((sum, char) => sum * 32n + BigInt('0123456789abcdefghjkmnpqrstvwxyz'.indexOf(char)), 0n)
  return value
    .toString(16)
    .padStart(32, '0')
    .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

describe('ids', () => {
  test('the UUIDv7 of the TypeID specification is spelled as there', () => {
    const [now, random] = partsOf('01890a5d-ac96-774b-bcce-b302099a8057')
    expect(newId('zone', now, random)).toBe('zon_01h455vb4pex5vsknk084sn02q')
  })

  test('every other bit pattern keeps its bits, but for version and variant (RFC 9562 §5.7)', () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 48 - 1 }), fc.uint8Array({ minLength: 10, maxLength: 10 }), (now, random) => {
        const uuid = uuidOf(newId('mandate', now, random)).replaceAll('-', '')
        expect(Number.parseInt(uuid.slice(0, 12), 16)).toBe(now)
        expect(uuid[12]).toBe('7')
        expect('89ab').toContain(uuid[16])
        const given = Buffer.from(random).toString('hex')
        expect(uuid.slice(13, 16)).toBe(given.slice(1, 4))
        expect(uuid.slice(17)).toBe(given.slice(5))
      }),
    )
  })

  test('ids sort by the millisecond in which they were made', () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 48 - 2 }), fc.nat({ max: 1000 }), (now, later) => {
        if (later > 0 && now + later < 2 ** 48) expect(newId('event', now) < newId('event', now + later)).toBe(true)
      }),
    )
    expect(newId('event', 2 ** 40 - 1) < newId('event', 2 ** 40)).toBe(true)
  })

  test('ids of one millisecond differ', () => {
    expect(new Set(Array.from({ length: 10_000 }, () => newId('event', 0))).size).toBe(10_000)
  })

  test('every kind has a prefix of three letters of its own, and its ids are of that kind only', () => {
    const kinds = Object.keys(ID_PREFIXES) as IdKind[]
    expect(new Set(Object.values(ID_PREFIXES)).size).toBe(kinds.length)
    for (const kind of kinds) {
      const id = newId(kind)
      expect(id).toMatch(/^[a-z]{3}_[0-9a-z]{26}$/)
      expect(kinds.filter((other) => isId(other, id))).toEqual([kind])
      expect(looksLikeId(id)).toBe(true)
    }
  })

  test.each([
    ['the largest', 'zon_7zzzzzzzzzzzzzzzzzzzzzzzzz', true],
    ['nil', 'zon_00000000000000000000000000', true],
    ['129 bits', 'zon_8zzzzzzzzzzzzzzzzzzzzzzzzz', false],
    ['upper case', 'zon_0123456789ABCDEFGHJKMNPQRS', false],
    ['upper-case prefix', 'ZON_00000000000000000000000000', false],
    ['25 characters', 'zon_1234567890123456789012345', false],
    ['27 characters', 'zon_123456789012345678901234567', false],
    ['a space', 'zon_1234567890123456789012345 ', false],
    ['a line break at the end', 'zon_00000000000000000000000000\n', false],
    ['hyphens', 'zon_123456789-123456789-123456', false],
    ['letters outside the alphabet', 'zon_ooooooiiiiiiuuuuuuulllllll', false],
    ['ambiguous letters', 'zon_i23456789ol23456789oi23456', false],
    ['two separators', 'zon__00000000000000000000000000', false],
    ['no prefix', '00000000000000000000000000', false],
    ['another kind', 'app_00000000000000000000000000', false],
    ['nothing', '', false],
    ['no text', 1, false],
  ])('%s: %j', (_what, text, expected) => {
    expect(isId('zone', text)).toBe(expected)
  })

  test('[P-020] whatever could be taken for an id in another case looks like one', () => {
    expect(looksLikeId('ZON_00000000000000000000000000')).toBe(true)
    expect(looksLikeId('abc_ooooooiiiiiiuuuuuuulllllll')).toBe(true)
    expect(looksLikeId('https://bank.example')).toBe(false)
  })
})
