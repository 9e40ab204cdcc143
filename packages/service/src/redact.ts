/** Members whose value is never logged, at any depth, however they are spelled (P-148). */
const NAMES =
  'authorization|proxy_?authorization|cookie|set_?cookie|password|passphrase|secret|client_?secret|token|access_?token|refresh_?token|id_?token|subject_?token|actor_?token|assertion|client_?assertion|api_?key|x_api_key|private_?key|nonce|kek|dpop|signature|credential|database_?url|redis_?url'

const NAMED = new RegExp(`^(?:${NAMES})$`, 'i')
const NAMED_TEXT = new RegExp(`("(?:${NAMES.replaceAll('_?', '[-_]?').replaceAll('_', '[-_]')})"\\s*:\\s*)"(?:[^"\\\\]|\\\\.)*"`, 'gi')

/** Values that are secret wherever they stand: our own formats, JWTs, Authorization values, PEM keys, passwords in URLs. */
const VALUES: readonly (readonly [RegExp, string])[] = [
  [/\b(ccs|cat)_[A-Za-z0-9_-]{20,}/g, '$1_[redacted]'],
  [/\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*/g, '[redacted jwt]'],
  [/\b(Bearer|DPoP|Basic)\s+[A-Za-z0-9._~+/=-]{6,}/gi, '$1 [redacted]'],
  [/-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|$)/gs, '[redacted pem]'],
  [/\b((?:password|passwd|pwd|secret|token|api[-_]?key|client[-_]secret|credential|assertion)\s?=\s?)[^\s&"',;]{3,}/gi, '$1[redacted]'],
  [/(\b[a-z][a-z0-9+.-]*:\/\/[^\s/:@"]*):[^\s/@"]+@/gi, '$1:[redacted]@'],
]

export const REDACTED = '[redacted]'

/** Removes what is secret from a line of log, by name, by form and by value. */
export function createRedactor(secrets: readonly string[]): (line: string) => string {
  const spellings = new Set<string>()
  for (const secret of secrets) {
    if (secret.length < 8) continue
    const bytes = Buffer.from(secret)
    for (const one of [
      secret,
      JSON.stringify(secret).slice(1, -1),
      encodeURIComponent(secret),
      bytes.toString('base64'),
      bytes.toString('base64url'),
    ]) {
      spellings.add(one)
    }
  }
  // Longest first, so that a spelling that contains another goes as a whole.
  const known = [...spellings].sort((a, b) => b.length - a.length)
  return (line) => {
    let text = line
    for (const one of known) if (text.includes(one)) text = text.replaceAll(one, REDACTED)
    for (const [form, replacement] of VALUES) text = text.replace(form, replacement)
    return text.replace(NAMED_TEXT, `$1"${REDACTED}"`)
  }
}

/** The same object without the values of secret names, nested objects and arrays included. Cycles and depths past eight are cut. */
export function withoutNamedSecrets(value: unknown, depth = 0, above: readonly unknown[] = []): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Error || Buffer.isBuffer(value)) {
    return Buffer.isBuffer(value) ? `[${value.length} bytes]` : value
  }
  if (depth > 8 || above.includes(value)) return '[cut]'
  const next = [...above, value]
  if (Array.isArray(value)) return value.map((one) => withoutNamedSecrets(one, depth + 1, next))
  return Object.fromEntries(
    Object.entries(value).map(([name, one]) => [
      name,
      NAMED.test(name.replaceAll('-', '_')) && one !== undefined ? REDACTED : withoutNamedSecrets(one, depth + 1, next),
    ]),
  )
}
