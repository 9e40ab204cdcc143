import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { type Cidr, isWithin, parseCidr } from './address-class.ts'

/** More hops than this are nobody's chain of proxies. */
const MOST_HOPS = 16

/** An address or a CIDR of `TRUSTED_PROXIES`; null when it is neither. */
export function parseTrustedProxy(text: string): Cidr | null {
  return parseCidr(text.includes('/') ? text : `${text}/${isIP(text) === 6 ? 128 : 32}`)
}

/**
 * Where a request comes from: the peer of its socket, and only when that is a trusted proxy what `X-Forwarded-For` says, from the
 * right up to the first address that is not one (P-067). What is no address ends the walk. IPv4 addresses have one spelling.
 */
export function createSourceOf(trusted: readonly string[]): (request: Pick<IncomingMessage, 'socket' | 'headers'>) => string {
  const proxies = trusted.map((text) => {
    const cidr = parseTrustedProxy(text)
    if (cidr === null) throw new TypeError(`neither an address nor a CIDR: ${text}`)
    return cidr
  })
  return ({ socket, headers }) => {
    let source = plain(socket.remoteAddress ?? 'unknown')
    if (proxies.length === 0) return source
    const said = [headers['x-forwarded-for'] ?? ''].flat().join(',').split(',').slice(-MOST_HOPS)
    while (isWithin(source, proxies)) {
      const next = plain(said.pop()?.trim() ?? '')
      if (isIP(next) === 0) break
      source = next
    }
    return source
  }
}

/** What shares one limit: an IPv4 address, or the /64 that one IPv6 host can use as it likes. */
export function sourceGroup(source: string): string {
  if (!source.includes(':') || isIP(source) !== 6) return source
  const [head = '', tail] = source.split('%')[0]?.split('::') ?? []
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - before.length - after.length)
  return [...before, ...Array<string>(zeros).fill('0'), ...after]
    .slice(0, 4)
    .map((part) => Number.parseInt(part, 16).toString(16))
    .join(':')
}

/** A dual-stack listener sees IPv4 peers as mapped addresses. */
function plain(address: string): string {
  if (!address.startsWith('::ffff:')) return address
  const mapped = address.slice('::ffff:'.length)
  return isIP(mapped) === 4 ? mapped : address
}
