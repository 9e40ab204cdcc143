import { ok, type Result, refuse } from '@caracal/core'
import { parsePath, type RawPath } from '@caracal/enforcement'

/** What a request asks for, as its bytes came: what is decided on is what is forwarded (P-063). */
export type RequestTarget = {
  readonly path: RawPath
  /** With its `?`, byte for byte; empty when there is none. A lone `?` is kept. */
  readonly query: string
}

const MAX_QUERY_BYTES = 8192
/** RFC 3986 §3.4 and what clients send raw in practice; no space, control, `#` and nothing outside ASCII. */
const QUERY = /^[\x21\x22\x24-\x7e]*$/
const ESCAPE = /%([0-9A-Fa-f]{2})/g
/** What no server agrees on once it is decoded: a backslash, a control character, NUL. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for.
const TREACHEROUS = /[\\\x00-\x1f\x7f]/

/**
 * The one parse of a request target (RFC 9112 §3.2). Only the origin-form is taken: absolute-form, authority-form and asterisk are
 * `malformed_path`, and so are fragments, dot segments, backslashes and control characters at any decoding depth and bad escapes.
 */
export function parseRequestTarget(target: string): Result<RequestTarget, 'malformed_path'> {
  const at = target.indexOf('?')
  const rawPath = at < 0 ? target : target.slice(0, at)
  const query = at < 0 ? '' : target.slice(at)
  const path = parsePath(rawPath)
  if (!path.ok) return path
  if (rawPath.includes('%') && isTreacherous(rawPath))
    return refuse('malformed_path', 'the path has an encoded backslash or control character')
  if (query.length > MAX_QUERY_BYTES || !QUERY.test(query))
    return refuse('malformed_path', 'the query has a character that is not accepted')
  return ok({ path: path.value, query })
}

/** Decodes until nothing changes, which `parsePath` has seen to be soon. */
function isTreacherous(raw: string): boolean {
  for (let text = raw; ; ) {
    const decoded = text.replace(ESCAPE, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    if (decoded === text) return false
    if (TREACHEROUS.test(decoded)) return true
    text = decoded
  }
}
