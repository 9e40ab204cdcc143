import { ok, type Result, refuse } from '@caracal/core'

/** RFC 7515 §7.1, taken apart but not believed. */
export type CompactJws = {
  readonly header: Readonly<Record<string, unknown>>
  readonly payload: Readonly<Record<string, unknown>>
  /** What the signature is over. */
  readonly signingInput: string
  readonly signature: Buffer
}

/** Longest mandate, in characters. */
export const MAX_TOKEN_LENGTH = 16 * 1024

const ALPHABET = /^[A-Za-z0-9_-]+$/

/**
 * Takes a compact JWS apart by hand, with strict limits: at most 16 KiB, three parts, canonical base64url without padding,
 * header and payload JSON objects in UTF-8. Anything else is `invalid_token`.
 */
export function parseJws(token: string): Result<CompactJws, 'invalid_token'> {
  if (token.length > MAX_TOKEN_LENGTH) return refuse('invalid_token', 'too long')
  const parts = token.split('.', 4)
  const [head, body, tail] = parts
  if (parts.length !== 3 || head === undefined || body === undefined || tail === undefined)
    return refuse('invalid_token', 'not three parts')
  const header = decodeObject(head)
  const payload = decodeObject(body)
  const signature = decodePart(tail)
  if (header === null || payload === null || signature === null) return refuse('invalid_token', 'a part is malformed')
  return ok({ header, payload, signingInput: `${head}.${body}`, signature })
}

/** Node's decoder is lenient: encoding again shows characters and trailing bits that it let pass. */
function decodePart(part: string): Buffer | null {
  if (!ALPHABET.test(part)) return null
  const bytes = Buffer.from(part, 'base64url')
  return bytes.toString('base64url') === part ? bytes : null
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function decodeObject(part: string): Readonly<Record<string, unknown>> | null {
  const bytes = decodePart(part)
  if (bytes === null) return null
  try {
    const value: unknown = JSON.parse(utf8.decode(bytes))
    return isRecord(value) ? value : null
  } catch {
    return null
  }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
