/** Words that stand where a secret should have been put (P-143). */
const PLACEHOLDER =
  /^(?:<.*>|\$\{.*\}|\{\{.*\}\}|x{3,}|\*+|(?:change|replace|set|fill|insert|put)[-_ ]?(?:me|this|it|in|here)?.*|placeholder.*|(?:your|my|the|a|some)[-_ ].*(?:secret|password|token|key).*|example.*|todo.*|secret|password|passw0rd|token|admin|test|dummy|none|null|undefined)$/i

export function placeholder(text: string): boolean {
  return PLACEHOLDER.test(text.trim()) || /^(.)\1*$/.test(text)
}

/**
 * Keys nobody drew at random: few different bytes, a repeated block, a constant step, text. 32 random bytes have fewer than 16
 * different values with a probability below 2⁻⁶⁰.
 */
export function weakKey(bytes: Uint8Array): boolean {
  if (new Set(bytes).size < 16) return true
  const step = (bytes[1] ?? 0) - (bytes[0] ?? 0)
  if (bytes.every((byte, index) => index === 0 || ((byte - (bytes[index - 1] ?? 0) - step) & 0xff) === 0)) return true
  for (const length of [16, 8]) {
    if (bytes.every((byte, index) => byte === bytes[index % length])) return true
  }
  return bytes.every((byte) => byte >= 0x20 && byte < 0x7f)
}
