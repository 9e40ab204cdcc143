/** Every key is 256 bits. */
export const KEY_BYTES = 32

/**
 * Why these bytes must not be used as a key, or `null` when nothing speaks against it (P-083): too short or long, zero, a
 * repeated pattern, a sequence, or text that a person typed instead of random bytes.
 */
export function keyWeakness(key: Uint8Array): string | null {
  if (key.length < KEY_BYTES) return `is ${key.length} bytes long, ${KEY_BYTES} are needed`
  if (key.length > KEY_BYTES) return `is ${key.length} bytes long, exactly ${KEY_BYTES} are used`
  if (key.every((byte) => byte === 0)) return 'is all zero'
  for (const period of [1, 2, 4, 8, 16]) {
    if (key.every((byte, at) => byte === key[at % period])) return period === 1 ? 'repeats one byte' : `repeats ${period} bytes`
  }
  const step = ((key[1] ?? 0) - (key[0] ?? 0)) & 0xff
  if (key.every((byte, at) => at === 0 || byte === (((key[at - 1] ?? 0) + step) & 0xff))) return 'is a sequence'
  // 32 random bytes are all printable once in 10¹³; ones padded with zeros were typed too.
  const typed = key.subarray(0, trimmedLength(key))
  if (typed.every((byte) => byte >= 0x20 && byte <= 0x7e)) return 'is printable text, not random bytes'
  // 32 random bytes hold about 30 different values, fewer than 16 never.
  if (new Set(key).size < 16) return 'has too few different bytes'
  return null
}

function trimmedLength(key: Uint8Array): number {
  let end = key.length
  while (end > 0 && key[end - 1] === 0) end -= 1
  return end
}
