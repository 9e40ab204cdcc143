import { ok, type Result, refuse } from '@caracal/core'

/**
 * A request path as it came, split but not rewritten. What is decided on is this, and what is forwarded is `raw` (P-063).
 * `segments` are the raw bytes between the slashes; the slash that every path begins with opens no segment of its own,
 * so `/` has one empty segment and `/a/` has two: `a` and an empty one.
 */
export type RawPath = {
  readonly raw: string
  readonly segments: readonly string[]
  /** An encoded `/` or `\` stands in it. */
  readonly encodedSeparator: boolean
}

const MAX_PATH_BYTES = 8192
/** Escapes in escapes: nobody sends more than two or three, and each round goes over the whole path. */
const MAX_DECODINGS = 8
/** RFC 3986 §3.3 and what clients send raw in practice; no space, control, backslash, `?`, `#` and nothing outside ASCII. */
const ALLOWED = /^\/[\x21\x22\x24-\x3e\x40-\x5b\x5d-\x7e]*$/
const BAD_ESCAPE = /%(?![0-9A-Fa-f]{2})/
const ESCAPE = /%([0-9A-Fa-f]{2})/g
/** A dot segment with or without path parameters (`..;x`), which some servers strip before they resolve it. */
const DOT_SEGMENT = /(?:^|[/\\])\.{1,2}(?:;[^/\\]*)?(?:[/\\]|$)/
/** `.`, `/` and `\` in the overlong UTF-8 forms that lenient decoders take. */
const OVERLONG = /\xc0[\xae\xaf]|\xc1\x9c|\xe0\x80[\xae\xaf]|\xe0\x81\x9c/

/**
 * Reads the path of an origin-form request target, without its query. Dot segments at any decoding depth, more than eight encodings
 * of an encoding, backslashes, bad escapes and absolute forms are `malformed_path`; everything else (`%2F`, `//`, a trailing slash,
 * `%25`) is kept byte for byte.
 */
export function parsePath(raw: string): Result<RawPath, 'malformed_path'> {
  if (raw.length > MAX_PATH_BYTES || !ALLOWED.test(raw)) return refuse('malformed_path', 'the path has a character that is not accepted')
  if (raw.includes('%')) {
    if (BAD_ESCAPE.test(raw)) return refuse('malformed_path', 'the path has a bad escape')
    if (!isPlain(raw)) return refuse('malformed_path', 'the path has a dot segment, or is encoded too often')
  } else if (DOT_SEGMENT.test(raw)) return refuse('malformed_path', 'the path has a dot segment')
  return ok({ raw, segments: raw.slice(1).split('/'), encodedSeparator: /%(?:2f|5c)/i.test(raw) })
}

/**
 * Decodes until nothing changes; what is no escape at a deeper round stays as it is. False for a dot segment at any depth, and for
 * what is still encoded after eight rounds.
 */
function isPlain(raw: string): boolean {
  let text = raw
  for (let rounds = 0; rounds <= MAX_DECODINGS; rounds += 1) {
    if (DOT_SEGMENT.test(text) || OVERLONG.test(text)) return false
    const decoded = text.replace(ESCAPE, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    if (decoded === text) return true
    text = decoded
  }
  return false
}
