import { createHmac, timingSafeEqual } from 'node:crypto'
import type { KeyRing } from './key-ring.ts'
import { type Field, lengthPrefixed } from './length-prefixed.ts'

/** HMAC-SHA-256 by the current key over the length-prefixed fields. */
export function mac(ring: KeyRing, fields: readonly Field[]): Buffer {
  return macBy(ring.current.bytes, fields)
}

/** A last field that is long is not copied to stand behind the others. */
function macBy(key: Uint8Array, fields: readonly Field[]): Buffer {
  const hmac = createHmac('sha256', key)
  const last = fields.at(-1)
  if (typeof last !== 'string' || last.length < 1_024) return hmac.update(lengthPrefixed(fields)).digest()
  const length = Buffer.allocUnsafe(4)
  length.writeUInt32BE(Buffer.byteLength(last))
  return hmac
    .update(lengthPrefixed(fields.slice(0, -1)))
    .update(length)
    .update(last, 'utf8')
    .digest()
}

/** Whether the current key, or during a rotation the previous one, made this MAC. In constant time for MACs of the right length. */
export function verifyMac(ring: KeyRing, fields: readonly Field[], given: Uint8Array): boolean {
  let good = false
  for (const key of [ring.current, ring.previous]) {
    if (key === null) continue
    const expected = macBy(key.bytes, fields)
    if (given.length === expected.length && timingSafeEqual(given, expected)) good = true
  }
  return good
}

/** The same with the MAC as base64url without padding, its one accepted spelling on the wire. */
export function macText(ring: KeyRing, fields: readonly Field[]): string {
  return mac(ring, fields).toString('base64url')
}

export function verifyMacText(ring: KeyRing, fields: readonly Field[], given: string): boolean {
  const bytes = Buffer.from(given, 'base64url')
  return bytes.toString('base64url') === given && verifyMac(ring, fields, bytes)
}
