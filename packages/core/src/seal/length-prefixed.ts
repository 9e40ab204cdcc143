/** One field of a list that is authenticated: text is taken as UTF-8. */
export type Field = string | Uint8Array

/**
 * Fields as bytes that no other list of fields gives: each behind its length as 32 bits, big-endian. Without it
 * ("ab", "c") and ("a", "bc") would be the same bytes.
 */
export function lengthPrefixed(fields: readonly Field[]): Buffer {
  const parts: Buffer[] = []
  for (const field of fields) {
    const bytes = typeof field === 'string' ? Buffer.from(field, 'utf8') : Buffer.from(field.buffer, field.byteOffset, field.byteLength)
    const length = Buffer.allocUnsafe(4)
    length.writeUInt32BE(bytes.length)
    parts.push(length, bytes)
  }
  return Buffer.concat(parts)
}
