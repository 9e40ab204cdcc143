import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

/**
 * `public`: the internet. `special`: private, loopback, link-local, shared, reserved, multicast, or a form that carries an IPv4 address
 * inside IPv6. `metadata`: where clouds hand out credentials, in whatever form.
 */
export type AddressClass = 'public' | 'special' | 'metadata'

export type Cidr = { readonly base: ipaddr.IPv4 | ipaddr.IPv6; readonly bits: number }

const METADATA = ['169.254.169.254', '100.100.100.200', '168.63.129.16', '192.0.0.192', 'fd00:ec2::254'].map((text) =>
  ipaddr.parse(text).toNormalizedString(),
)

/** IANA IPv4 Special-Purpose Address Registry, without regard to its "globally reachable": none of these is somebody's API. */
const SPECIAL_V4 = cidrs(
  '0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 ' +
    '192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4',
)
/** Only global unicast can be public (RFC 4291 §2.4), and of it not what the IANA IPv6 registry sets apart. */
const GLOBAL_V6 = cidrs('2000::/3')
const SPECIAL_V6 = cidrs('2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20')

/** Which class an address is in. What is no address is `special`: it is allowed by nothing. */
export function classifyAddress(text: string): AddressClass {
  const address = parseAddress(text)
  if (address === null) return 'special'
  const forms = [address, ...embeddedV4(address)]
  if (forms.some((form) => METADATA.includes(withoutZone(form).toNormalizedString()))) return 'metadata'
  if (address.kind() === 'ipv4') return within(address, SPECIAL_V4) ? 'special' : 'public'
  return within(address, GLOBAL_V6) && !within(address, SPECIAL_V6) ? 'public' : 'special'
}

/**
 * Whether `text` may be dialled: public addresses always, special ones when a CIDR covers exactly that form of the address,
 * metadata addresses only when one names the address itself (/32 or /128).
 */
export function isAddressAllowed(text: string, allow: readonly Cidr[]): boolean {
  const address = parseAddress(text)
  if (address === null) return false
  switch (classifyAddress(text)) {
    case 'public':
      return true
    case 'special':
      return within(address, allow)
    case 'metadata':
      return within(
        address,
        allow.filter((cidr) => cidr.bits === (cidr.base.kind() === 'ipv4' ? 32 : 128)),
      )
  }
}

/** Whether `text` may be dialled and a CIDR covers it: for what even a public address must be allowed by name. */
export function isAddressListed(text: string, allow: readonly Cidr[]): boolean {
  const address = parseAddress(text)
  return address !== null && within(address, allow) && isAddressAllowed(text, allow)
}

/** Parses `10.0.0.0/8` or `fd00::/8`; null for anything else. */
export function parseCidr(text: string): Cidr | null {
  const [base, bits, ...rest] = text.split('/')
  if (base === undefined || bits === undefined || rest.length > 0 || !/^\d{1,3}$/.test(bits) || base.includes('%')) return null
  const address = parseAddress(base)
  if (address === null || Number(bits) > (address.kind() === 'ipv4' ? 32 : 128)) return null
  return { base: address, bits: Number(bits) }
}

/** Whether `text` is an address in one of the ranges. */
export function isWithin(text: string, ranges: readonly Cidr[]): boolean {
  const address = parseAddress(text)
  return address !== null && within(address, ranges)
}

/** Node's parser first: ipaddr.js also takes octal, hexadecimal and shortened IPv4, but not every zone index that Node does. */
function parseAddress(text: string): ipaddr.IPv4 | ipaddr.IPv6 | null {
  return isIP(text) === 0 || !ipaddr.isValid(text) ? null : ipaddr.parse(text)
}

function within(address: ipaddr.IPv4 | ipaddr.IPv6, ranges: readonly Cidr[]): boolean {
  return ranges.some(({ base, bits }) => {
    if (address instanceof ipaddr.IPv4) return base instanceof ipaddr.IPv4 && address.match(base, bits)
    return base instanceof ipaddr.IPv6 && address.match(base, bits)
  })
}

/** IPv4 addresses that an IPv6 address stands for: mapped, compatible, NAT64, 6to4, Teredo (server and obfuscated client), ISATAP. */
function embeddedV4(address: ipaddr.IPv4 | ipaddr.IPv6): ipaddr.IPv4[] {
  if (address instanceof ipaddr.IPv4) return []
  const bytes = address.toByteArray()
  const at = (from: number, mask = 0) => new ipaddr.IPv4(bytes.slice(from, from + 4).map((byte) => byte ^ mask))
  // Where exactly a local NAT64 prefix puts it depends on the prefix length, so every place of RFC 6052 §2.2 counts.
  const split = (from: number) => new ipaddr.IPv4([...bytes.slice(from, 8), ...bytes.slice(9, 9 + 4 - (8 - from))])
  return [at(12), at(2), at(4), at(12, 0xff), split(5), split(6), split(7), at(9)]
}

function withoutZone(address: ipaddr.IPv4 | ipaddr.IPv6): ipaddr.IPv4 | ipaddr.IPv6 {
  return address instanceof ipaddr.IPv6 ? new ipaddr.IPv6(address.toByteArray()) : address
}

function cidrs(text: string): Cidr[] {
  return text.split(' ').map((one) => {
    const cidr = parseCidr(one)
    if (cidr === null) throw new Error(`not a CIDR: ${one}`)
    return cidr
  })
}
