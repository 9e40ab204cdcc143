import { ok, type Result, refuse } from './result.ts'

/** One capability at one Resource: RFC 6749 §3.3 scope-token, e.g. `payments:read`. */
export type Scope = string

/** RFC 6749 §3.3: printable ASCII without space, double quote and backslash. `*` is kept for patterns. */
const SCOPE_TOKEN = /^[\x21\x23-\x29\x2b-\x5b\x5d-\x7e]{1,128}$/

export function isScope(text: string): boolean {
  return SCOPE_TOKEN.test(text)
}

/** Parses a space-separated list: order and repetition carry no meaning; a malformed token refuses the whole. */
export function parseScopes(text: string): Result<ReadonlySet<Scope>, 'invalid_scope'> {
  const found = new Set<Scope>()
  for (const token of text.split(' ')) {
    if (token === '') continue
    if (!isScope(token)) return refuse('invalid_scope', `not a scope: ${JSON.stringify(token.slice(0, 64))}`)
    found.add(token)
  }
  return ok(found)
}

/** The wire form: sorted, so that equal sets are equal bytes. */
export function formatScopes(scopes: Iterable<Scope>): string {
  return [...new Set(scopes)].sort().join(' ')
}
