import { describe, expect, it } from 'vitest'
import { classifyAddress, isAddressAllowed, parseCidr } from './address-class.ts'

const cidrs = (...texts: string[]) => texts.map(parseCidr).filter((cidr) => cidr !== null)

describe('classifyAddress', () => {
  // IANA IPv4 and IPv6 Special-Purpose Address Registries: first and last address of every block.
  it.each([
    ['this network', '0.0.0.0', '0.255.255.255'],
    ['private use', '10.0.0.0', '10.255.255.255'],
    ['shared address space', '100.64.0.0', '100.127.255.255'],
    ['loopback', '127.0.0.0', '127.255.255.255'],
    ['link local', '169.254.0.0', '169.254.255.255'],
    ['private use', '172.16.0.0', '172.31.255.255'],
    ['IETF protocol assignments', '192.0.0.0', '192.0.0.255'],
    ['TEST-NET-1', '192.0.2.0', '192.0.2.255'],
    ['AS112-v4', '192.31.196.0', '192.31.196.255'],
    ['AMT', '192.52.193.0', '192.52.193.255'],
    ['6to4 relay anycast', '192.88.99.0', '192.88.99.255'],
    ['private use', '192.168.0.0', '192.168.255.255'],
    ['direct delegation AS112', '192.175.48.0', '192.175.48.255'],
    ['benchmarking', '198.18.0.0', '198.19.255.255'],
    ['TEST-NET-2', '198.51.100.0', '198.51.100.255'],
    ['TEST-NET-3', '203.0.113.0', '203.0.113.255'],
    ['multicast', '224.0.0.0', '239.255.255.255'],
    ['reserved and broadcast', '240.0.0.0', '255.255.255.255'],
    ['unspecified and loopback', '::', '::1'],
    ['IPv4-compatible', '::8.8.8.8', '::203.0.114.1'],
    ['IPv4-mapped', '::ffff:0.0.0.0', '::ffff:255.255.255.255'],
    ['NAT64', '64:ff9b::', '64:ff9b::255.255.255.255'],
    ['local NAT64', '64:ff9b:1::', '64:ff9b:1:ffff:ffff:ffff:ffff:ffff'],
    ['discard only', '100::', '100::ffff:ffff:ffff:ffff'],
    ['dummy prefix', '100:0:0:1::', '100:0:0:1:ffff:ffff:ffff:ffff'],
    ['IETF protocol assignments', '2001::', '2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['Teredo', '2001::', '2001:0:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['port control, TURN, DNS-SD anycast', '2001:1::1', '2001:1::3'],
    ['benchmarking', '2001:2::', '2001:2:0:ffff:ffff:ffff:ffff:ffff'],
    ['AMT', '2001:3::', '2001:3:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['AS112-v6', '2001:4:112::', '2001:4:112:ffff:ffff:ffff:ffff:ffff'],
    ['ORCHID, ORCHIDv2, DRIP', '2001:10::', '2001:3f:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['documentation', '2001:db8::', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['6to4', '2002::', '2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['direct delegation AS112', '2620:4f:8000::', '2620:4f:8000:ffff:ffff:ffff:ffff:ffff'],
    ['documentation', '3fff::', '3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['segment routing', '5f00::', '5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['unique local', 'fc00::', 'fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['link local', 'fe80::', 'febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['link local with a zone', 'fe80::1%lo', 'fe80::1%eth0'],
    ['a zone that is none', '2606:4700::1%25%2e', '::1%.'],
    ['site local', 'fec0::', 'feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['multicast', 'ff00::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['not assigned', '4000::', 'e000::1'],
  ])('%s is special: %s – %s [P-079]', (_name, first, last) => {
    for (const address of [first, last]) {
      expect(classifyAddress(address), address).toBe('special')
      expect(isAddressAllowed(address, []), address).toBe(false)
    }
  })

  it.each([
    '1.1.1.1',
    '9.255.255.255',
    '11.0.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '126.255.255.255',
    '128.0.0.0',
    '172.15.255.255',
    '172.32.0.0',
    '192.0.1.0',
    '192.167.255.255',
    '192.169.0.0',
    '198.17.255.255',
    '198.20.0.0',
    '223.255.255.255',
    '2001:200::1',
    '2001:db9::1',
    '2003::1',
    '2606:4700:4700::1111',
    '2a00::1',
    '3ffe::1',
  ])('%s, just outside, is public [P-079]', (address) => {
    expect(classifyAddress(address)).toBe('public')
    expect(isAddressAllowed(address, [])).toBe(true)
  })

  it.each([
    '169.254.169.254',
    '100.100.100.200',
    '168.63.129.16',
    '192.0.0.192',
    'fd00:ec2::254',
    'fd00:0ec2:0:0::0254',
    '::ffff:169.254.169.254',
    '::ffff:a9fe:a9fe',
    '::169.254.169.254',
    '64:ff9b::169.254.169.254',
    '64:ff9b:1::a9fe:a9fe',
    '2002:a9fe:a9fe::1',
    '2001:0:a9fe:a9fe::1',
    '2001:0:101:101:0:0:5601:5601',
    '::ffff:168.63.129.16',
    'fe80::5efe:a9fe:a9fe',
  ])('%s is a metadata address, in whatever form [P-079]', (address) => {
    expect(classifyAddress(address)).toBe('metadata')
    expect(isAddressAllowed(address, cidrs('0.0.0.0/0', '::/0', '169.254.0.0/16', '168.63.129.0/24', 'fd00::/8'))).toBe(false)
  })

  it('a metadata address is allowed only by its own exact address [P-079]', () => {
    expect(isAddressAllowed('169.254.169.254', cidrs('169.254.169.254/31'))).toBe(false)
    expect(isAddressAllowed('169.254.169.254', cidrs('169.254.169.254/32'))).toBe(true)
    expect(isAddressAllowed('fd00:ec2::254', cidrs('fd00:ec2::/64'))).toBe(false)
    expect(isAddressAllowed('fd00:ec2::254', cidrs('fd00:ec2::254/128'))).toBe(true)
    expect(isAddressAllowed('::ffff:169.254.169.254', cidrs('169.254.169.254/32'))).toBe(false)
  })

  it('a range allows exactly the form of address that it is written in', () => {
    expect(isAddressAllowed('10.1.2.3', cidrs('10.1.0.0/16'))).toBe(true)
    expect(isAddressAllowed('10.2.2.3', cidrs('10.1.0.0/16'))).toBe(false)
    expect(isAddressAllowed('::ffff:10.1.2.3', cidrs('10.1.0.0/16'))).toBe(false)
    expect(isAddressAllowed('::ffff:10.1.2.3', cidrs('::ffff:10.1.0.0/112'))).toBe(true)
    expect(isAddressAllowed('fd12::1', cidrs('fd12::/16'))).toBe(true)
  })

  it.each(['', 'localhost', '127.1', '0x7f000001', '2130706433', '0177.0.0.1', '1.2.3', '1.2.3.4.5', '[::1]', '::1/128', '1.2.3.4 '])(
    '%j is no address and allowed by nothing',
    (text) => {
      expect(isAddressAllowed(text, cidrs('0.0.0.0/0', '::/0'))).toBe(false)
    },
  )

  it.each(['10.0.0.0', '10.0.0.0/', '10.0.0.0/33', '::/129', '10.0.0/8', '10.0.0.0/8/8', '10.0.0.0/-1', '10.0.0.0/1e1', 'fe80::1%lo/64'])(
    '%j is no range',
    (text) => {
      expect(parseCidr(text)).toBeNull()
    },
  )
})
