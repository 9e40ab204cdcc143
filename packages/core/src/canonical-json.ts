import canonicalize from 'canonicalize'

/**
 * The one serialisation that is hashed, signed and compared (RFC 8785).
 * `undefined` members are left out; NaN, infinities, lone surrogates and cycles throw.
 */
export function canonicalJson(value: unknown): string {
  const text = canonicalize(value)
  if (text === undefined) throw new TypeError('there is no canonical JSON for undefined')
  return text
}
