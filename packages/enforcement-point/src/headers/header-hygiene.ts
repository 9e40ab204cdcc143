import { foreignBaggage } from './foreign-baggage.ts'

/** Flat list of names and values in the order and spelling of the wire, as `rawHeaders` has them. */
export type RawHeaders = readonly string[]

/** RFC 9110 §7.6.1, and what frames a message: each connection has its own. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
])

/** What a caller says about itself or proves itself with: the upstream must neither see nor believe it (P-069). */
const OF_THE_CALLER = new Set([
  'authorization',
  'x-api-key',
  'dpop',
  'forwarded',
  'x-real-ip',
  'x-client-ip',
  'true-client-ip',
  'client-cert',
  'client-cert-chain',
  'x-client-cert',
  'x-ssl-cert',
  'api-key',
  'apikey',
  'x-apikey',
  'remote-user',
  'x-remote-user',
  'x-webauth-user',
  'x-cluster-client-ip',
  'cf-connecting-ip',
  'fastly-client-ip',
  'expect',
  'host',
])
const PREFIXES_OF_THE_CALLER = [
  'x-caracal-',
  'x-forwarded-',
  'proxy-',
  'ssl-client-',
  'x-ssl-client-',
  'x-client-cert-',
  'x-auth-request-',
  'x-authenticated-',
]

/** What makes some upstreams serve another method or path than the one that was decided on (P-063). */
const ANOTHER_OPERATION = new Set(['x-http-method-override', 'x-http-method', 'x-method-override', 'x-rewrite-url'])
const PREFIX_OF_ANOTHER_OPERATION = ['x-original-', 'x-envoy-original-']

/** Fields that frame or describe content: a second spelling with `_` could be read in their place. */
const ONE_SPELLING = new Set(['content-length', 'content-type', 'content-encoding'])

/** What frames the message stays even when `Connection` names it. */
const NEVER_NAMED = new Set(['content-length', 'host'])

/**
 * The caller's headers as the upstream gets them, without Host. Order, spelling and repetition of what stays are kept.
 * Names that differ in `_` and `-` only count as one, because CGI-like servers merge them. `TE: trailers` is the one
 * hop-by-hop field that is said anew, because trailers are passed on. `cookies`: opt-in.
 */
export function headersForUpstream(raw: RawHeaders, options: { readonly cookies?: boolean } = {}): string[] {
  const named = namedByConnection(raw)
  const kept: string[] = []
  let trailers = false
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at] ?? ''
    const value = raw[at + 1] ?? ''
    const { key, toUpstream } = traitsOf(name)
    if (key === 'te' && listOf(value).some((coding) => coding.split(';')[0]?.trim() === 'trailers')) trailers = true
    if (toUpstream === 'never' || named.has(key)) continue
    if (toUpstream === 'cookie' && options.cookies !== true) continue
    if (key === 'baggage') {
      const others = foreignBaggage(value)
      if (others !== '') kept.push(name, others)
    } else kept.push(name, value)
  }
  if (trailers) kept.push('TE', 'trailers')
  return kept
}

/** Whether an injected credential may use this name: what hygiene or framing owns is taken, `Authorization` and `X-API-Key` are not. */
export function isReservedForInjection(name: string): boolean {
  const key = canonicalName(name)
  if (key === 'authorization' || key === 'x-api-key' || key === 'cookie') return false
  return HOP_BY_HOP.has(key) || NEVER_NAMED.has(key) || key === 'expect' || key.startsWith('x-caracal-') || key.startsWith('proxy-')
}

/** Replaces every header of that name by one. */
export function replaceHeader(headers: string[], name: string, value: string): string[] {
  const key = canonicalName(name)
  const kept: string[] = []
  for (let at = 0; at < headers.length; at += 2)
    if (traitsOf(headers[at] ?? '').key !== key) kept.push(headers[at] ?? '', headers[at + 1] ?? '')
  kept.push(name, value)
  return kept
}

/** Where a response comes from and where its client believes to be. */
export type ResponsePlace = {
  /** Full URL that was asked, for relative references. */
  readonly requestUrl: string
  readonly upstreamOrigin: string
  /** Path of the upstream base, without a slash at its end: empty or `/v2`. */
  readonly upstreamBase: string
  /** What stands before the path below the Resource in the client's URLs: `/r/{name}` or nothing. */
  readonly gatewayBase: string
  readonly cookies?: boolean
  /** Headers whose value the client gets in another form (null: not at all), by lower-case name. */
  readonly replaced?: ReadonlyMap<string, (value: string) => string | null>
}

const OURS_IN_RESPONSES = new Set(['x-request-id', 'alt-svc', 'refresh'])
const REFERENCES = new Set(['location', 'content-location'])

/**
 * The upstream's headers as the client gets them: nothing in our name, nothing hop-by-hop, no `Refresh`, no `Alt-Svc` (both lead
 * around the Gateway). `Location` stays when it points below the Resource, rewritten to the client's view of it, and is
 * removed when it points anywhere else (P-070). Redirects are relayed, never followed.
 */
export function headersForClient(raw: RawHeaders, status: number, place: ResponsePlace): string[] {
  const named = namedByConnection(raw)
  const kept: string[] = []
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at] ?? ''
    const value = raw[at + 1] ?? ''
    const { key, toClient } = traitsOf(name)
    if (toClient === 'never' || named.has(key)) continue
    if (toClient === 'cookie' && place.cookies !== true) continue
    // RFC 9110 §8.6: no length where there can be no content.
    if (key === 'content-length' && (status === 204 || status < 200)) continue
    const replaced = place.replaced?.get(key)
    if (replaced !== undefined) {
      const seen = replaced(value)
      if (seen !== null) kept.push(name, seen)
      continue
    }
    if (toClient === 'reference') {
      const seen = referenceForClient(value, place)
      if (seen !== null) kept.push(name, seen)
      continue
    }
    kept.push(name, value)
  }
  return kept
}

/** Trailer fields that may pass: what frames, routes, authenticates or is ours may not (RFC 9110 §6.5.1). */
export function trailersForClient(raw: RawHeaders): [string, string][] {
  const kept: [string, string][] = []
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at] ?? ''
    const key = canonicalName(name)
    if (HOP_BY_HOP.has(key) || OURS_IN_RESPONSES.has(key) || REFERENCES.has(key) || NEVER_NAMED.has(key)) continue
    if (key.startsWith('x-caracal-') || key.startsWith('proxy-') || key.startsWith('set-cookie') || key === 'www-authenticate') continue
    kept.push([name, raw[at + 1] ?? ''])
  }
  return kept
}

/** The names an upstream announces in `Trailer`, without those that will not pass. */
export function announcedTrailers(raw: RawHeaders): string[] {
  const names: string[] = []
  for (let at = 0; at < raw.length; at += 2)
    if (raw[at]?.toLowerCase() === 'trailer') names.push(...(raw[at + 1] ?? '').split(',').map((name) => name.trim()))
  return names.filter((name) => /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name) && trailersForClient([name, '']).length > 0)
}

function referenceForClient(reference: string, place: ResponsePlace): string | null {
  if (!URL.canParse(reference, place.requestUrl)) return null
  const url = new URL(reference, place.requestUrl)
  if (url.origin !== place.upstreamOrigin || url.username !== '' || url.password !== '') return null
  const below = url.pathname.slice(place.upstreamBase.length)
  if (!url.pathname.startsWith(place.upstreamBase) || (below !== '' && !below.startsWith('/'))) return null
  const path = `${place.gatewayBase}${below}` || '/'
  // A path that begins with two slashes would be read as a host.
  return path.startsWith('//') ? null : `${path}${url.search}${url.hash}`
}

const NONE: ReadonlySet<string> = new Set()

function namedByConnection(raw: RawHeaders): ReadonlySet<string> {
  let names: Set<string> | undefined
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at] ?? ''
    if (name.length !== 'connection'.length || name.toLowerCase() !== 'connection') continue
    names ??= new Set()
    for (const one of listOf(raw[at + 1] ?? '')) if (!NEVER_NAMED.has(one)) names.add(canonicalName(one))
  }
  return names ?? NONE
}

/** What a header's name alone decides about its way. */
type Traits = {
  readonly key: string
  readonly toUpstream: 'passes' | 'cookie' | 'never'
  readonly toClient: 'passes' | 'cookie' | 'reference' | 'never'
}

/** Nearly every request brings names that were seen before; what is longer or comes when this is full is looked at each time. */
const seenNames = new Map<string, Traits>()
const MOST_SEEN_NAMES = 2_000
const LONGEST_SEEN_NAME = 64

function traitsOf(name: string): Traits {
  const before = seenNames.get(name)
  if (before !== undefined) return before
  const traits = readTraits(name)
  if (seenNames.size < MOST_SEEN_NAMES && name.length <= LONGEST_SEEN_NAME) seenNames.set(name, traits)
  return traits
}

function readTraits(name: string): Traits {
  const key = canonicalName(name)
  return { key, toUpstream: wayToUpstream(name, key), toClient: wayToClient(key) }
}

function wayToUpstream(name: string, key: string): Traits['toUpstream'] {
  if (HOP_BY_HOP.has(key) || OF_THE_CALLER.has(key) || ANOTHER_OPERATION.has(key)) return 'never'
  if (PREFIXES_OF_THE_CALLER.some((prefix) => key.startsWith(prefix))) return 'never'
  if (PREFIX_OF_ANOTHER_OPERATION.some((prefix) => key.startsWith(prefix))) return 'never'
  if (ONE_SPELLING.has(key) && name.includes('_')) return 'never'
  return key === 'cookie' || key === 'cookie2' ? 'cookie' : 'passes'
}

function wayToClient(key: string): Traits['toClient'] {
  if (HOP_BY_HOP.has(key) || OURS_IN_RESPONSES.has(key)) return 'never'
  if (key.startsWith('x-caracal-') || key.startsWith('proxy-')) return 'never'
  if (key === 'set-cookie' || key === 'set-cookie2') return 'cookie'
  return REFERENCES.has(key) ? 'reference' : 'passes'
}

function listOf(value: string): string[] {
  return value
    .toLowerCase()
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}

function canonicalName(name: string): string {
  return name.toLowerCase().replaceAll('_', '-')
}
