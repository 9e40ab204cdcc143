import type { IncomingMessage } from 'node:http'

/** Headers that conditions may read: what says something about the content, never a credential. */
const SHOWN_HEADERS = ['accept', 'accept-language', 'content-type', 'content-language', 'if-match', 'if-none-match', 'user-agent'] as const

/** The headers that conditions may read, lower-case names; one that stands more than once is a list. */
export function shownHeaders(request: Pick<IncomingMessage, 'headersDistinct'>): Record<string, string | readonly string[]> {
  const found: Record<string, string | readonly string[]> = {}
  for (const name of SHOWN_HEADERS) {
    const values = request.headersDistinct[name]
    if (values !== undefined) found[name] = values.length === 1 ? (values[0] ?? '') : values
  }
  return found
}
