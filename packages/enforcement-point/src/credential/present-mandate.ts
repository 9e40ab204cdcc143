import { ok, type Result, refuse } from '@caracal/core'

/**
 * The mandate of a request: exactly one `Authorization: Bearer …` (RFC 6750 §2.1). `rawHeaders` is the flat list of the wire, so
 * that a second one cannot hide. A DPoP presentation is refused: no mandate of ours is bound that way yet.
 */
export function presentedMandate(rawHeaders: readonly string[]): Result<string, 'unauthenticated' | 'invalid_token' | 'invalid_request'> {
  const values: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2)
    if (rawHeaders[at]?.toLowerCase() === 'authorization') values.push(rawHeaders[at + 1] ?? '')
  const [value] = values
  if (value === undefined) return refuse('unauthenticated')
  if (values.length > 1) return refuse('invalid_request', 'Authorization stands more than once')
  const [scheme = '', token = '', ...rest] = value.trim().split(/ +/)
  if (scheme.toLowerCase() !== 'bearer' || token === '' || rest.length > 0)
    return refuse('invalid_token', 'the credential is not a Bearer mandate')
  return ok(token)
}
