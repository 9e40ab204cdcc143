import { ok, type Result, refuse } from '@caracal/core'

const MAX_NAME = 2048
/** Escapes in escapes: nobody sends more than two or three. */
const MAX_DECODINGS = 8
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for.
const CONTROL = /[\x00-\x1f\x7f]/
const ESCAPE = /%([0-9A-Fa-f]{2})/g
const BAD_ESCAPE = /%(?![0-9A-Fa-f]{2})/
const DOT_SEGMENT = /(?:^|[/\\])\.{1,2}(?:;[^/\\]*)?(?:[/\\?#]|$)/
/** RFC 3986 §2.3: what nobody has to escape, so that an escape of it is only another spelling. */
const ESCAPED_UNRESERVED = /%(?:2[de]|3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])/i
const ENCODED_SEPARATOR = /%(?:2f|5c)/i

/** The name of a tool or prompt: compared byte for byte, so only what could be read in two ways is `malformed_path`. */
export function readMcpName(name: string): Result<string, 'malformed_path'> {
  if (name === '' || name.length > MAX_NAME || CONTROL.test(name)) return refuse('malformed_path', 'not a name of a tool or prompt')
  return ok(name)
}

/**
 * The URI of an MCP resource, in its one normal form: what is matched as text must not mean another resource to the server. Relative
 * and dotted forms, encoded separators (unless `literal`), escapes of plain characters, doubled slashes, upper-case schemes and hosts
 * are `malformed_path`.
 */
export function readMcpUri(uri: string, encodedSeparators: 'refuse' | 'literal' = 'refuse'): Result<string, 'malformed_path'> {
  if (uri.length > MAX_NAME || !/^[\x21-\x7e]+$/.test(uri) || !URL.canParse(uri)) return refuse('malformed_path', 'not an absolute URI')
  const { href } = new URL(uri)
  if (href !== uri && href !== `${uri}/`) return refuse('malformed_path', 'the URI is not in its normal form')
  const path = uri.slice(uri.indexOf(':') + 1).replace(/^\/\/[^/?#]*/, '')
  const plain = path.split(/[?#]/, 1)[0] ?? ''
  const doubled = /^\/*\/\//.test(plain) || plain.slice(1).includes('//')
  if (doubled || BAD_ESCAPE.test(plain) || ESCAPED_UNRESERVED.test(plain))
    return refuse('malformed_path', 'the URI is not in its normal form')
  if (encodedSeparators === 'refuse' && ENCODED_SEPARATOR.test(plain))
    return refuse('malformed_path', 'an encoded separator is not accepted here')
  return isPlain(plain) ? ok(uri) : refuse('malformed_path', 'the URI has a dot segment, or is encoded too often')
}

/** Decodes until nothing changes: no dot segment, backslash or control character at any depth. */
function isPlain(path: string): boolean {
  let text = path
  for (let rounds = 0; rounds <= MAX_DECODINGS; rounds += 1) {
    if (DOT_SEGMENT.test(text) || text.includes('\\') || CONTROL.test(text)) return false
    const decoded = text.replace(ESCAPE, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    if (decoded === text) return true
    text = decoded
  }
  return false
}
