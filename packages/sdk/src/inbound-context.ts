import type { VerifiedMandate } from './verify-mandate.ts'

/** What a service may believe of a request that came in. */
export type InboundContext = {
  /** Undefined when the request carries none: then it comes from nobody we know, whatever else it says. */
  readonly mandate: VerifiedMandate | undefined
  /** W3C Baggage of others, to hand on; undefined when there is none. */
  readonly baggage: string | undefined
}

/** W3C Baggage, limits of a propagated header. */
const MOST_MEMBERS = 64
const MOST_BYTES = 8_192
/** A member in our name says nothing: who calls, within which session, is what the mandate says. */
const OURS = /^caracal(?:[._-]|$)/i

/**
 * The context of a request: who calls comes from the verified mandate and from nothing else. A Bearer that does not verify throws
 * what `verify` throws. Headers in Caracal's name and `caracal.*` members of the baggage are dropped, with a mandate and without.
 */
export async function inboundContext(
  headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>,
  verify: (token: string) => Promise<VerifiedMandate>,
): Promise<InboundContext> {
  const token = /^Bearer +(\S+)$/i.exec(fieldOf(headers, 'authorization') ?? '')?.[1]
  const mandate = token === undefined ? undefined : await verify(token)
  return { mandate, baggage: foreignBaggage(fieldOf(headers, 'baggage')) }
}

/** The members that are not in our name, at most 64 and 8 KiB; repeated headers are one list. */
export function foreignBaggage(field: string | undefined): string | undefined {
  const kept: string[] = []
  let bytes = 0
  for (const member of (field ?? '').split(',').map((one) => one.trim())) {
    if (member === '' || OURS.test(nameOf(member))) continue
    bytes += Buffer.byteLength(member) + 1
    if (kept.length === MOST_MEMBERS || bytes > MOST_BYTES) break
    kept.push(member)
  }
  return kept.length === 0 ? undefined : kept.join(',')
}

/** A percent-encoded spelling is the same name to whoever decodes it. */
function nameOf(member: string): string {
  const name = (member.split(/[=;]/)[0] ?? '').trim()
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}

function fieldOf(headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>, name: string): string | undefined {
  if (headers instanceof Headers) return headers.get(name) ?? undefined
  const value = headers[name]
  return typeof value === 'string' ? value : value?.join(',')
}
