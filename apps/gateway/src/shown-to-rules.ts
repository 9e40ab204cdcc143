import type { IncomingMessage } from 'node:http'

const JSON_TYPE = /^application\/(?:[a-z0-9.+-]+\+)?json[ \t]*(?:;[ \t]*charset[ \t]*=[ \t]*(?:utf-8|"utf-8")[ \t]*)?$/i

/**
 * Whether every upstream reads this body as the JSON that it is here: one content type, UTF-8 (RFC 8259 §8.1), not encoded. Another charset
 * or coding would make of the same bytes another text than the one that the rules saw (P-089).
 */
export function isPlainJson({ headersDistinct }: Pick<IncomingMessage, 'headersDistinct'>): boolean {
  const types = headersDistinct['content-type'] ?? []
  const codings = headersDistinct['content-encoding'] ?? []
  return types.length === 1 && JSON_TYPE.test(types[0] ?? '') && codings.every((coding) => coding.trim().toLowerCase() === 'identity')
}

/** Parameters of a query for conditions; one that stands more than once is a list. */
export function queryOf(query: string): Record<string, string | string[]> {
  const found: Record<string, string | string[]> = Object.create(null)
  if (query.length < 2) return found
  for (const [name, value] of new URLSearchParams(query)) {
    const known = found[name]
    if (known === undefined) found[name] = value
    else found[name] = Array.isArray(known) ? [...known, value] : [known, value]
  }
  return found
}
