import { describe, expect, it } from 'vitest'
import { createSourceOf, parseTrustedProxy, sourceGroup } from './source-address.ts'

type Request = Parameters<ReturnType<typeof createSourceOf>>[0]
const request = (peer: string | undefined, forwarded?: string): Request =>
  ({ socket: { remoteAddress: peer }, headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded } }) as Request

describe('createSourceOf', () => {
  it.each([
    ['nobody is trusted', [], '203.0.113.9', '10.0.0.1', '203.0.113.9'],
    ['the peer is not trusted', ['10.0.0.0/8'], '203.0.113.9', '10.0.0.1', '203.0.113.9'],
    ['one proxy', ['10.0.0.0/8'], '10.0.0.1', '203.0.113.9', '203.0.113.9'],
    ['a forged address before the real one', ['10.0.0.0/8'], '10.0.0.1', '198.51.100.1, 203.0.113.9', '203.0.113.9'],
    ['a forged proxy before the real one', ['10.0.0.0/8'], '10.0.0.1', '10.0.0.7, 203.0.113.9', '203.0.113.9'],
    ['two proxies', ['10.0.0.0/8', '192.0.2.1'], '10.0.0.1', '203.0.113.9, 192.0.2.1', '203.0.113.9'],
    ['only proxies', ['10.0.0.0/8'], '10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
    ['nothing was said', ['10.0.0.0/8'], '10.0.0.1', undefined, '10.0.0.1'],
    ['no address', ['10.0.0.0/8'], '10.0.0.1', '203.0.113.9, unknown', '10.0.0.1'],
    ['an empty member', ['10.0.0.0/8'], '10.0.0.1', '203.0.113.9,', '10.0.0.1'],
    ['a mapped peer', ['10.0.0.1'], '::ffff:10.0.0.1', '::ffff:203.0.113.9', '203.0.113.9'],
    ['IPv6', ['fd00::/8'], 'fd00::1', '2001:db8::7', '2001:db8::7'],
    ['a long chain', ['10.0.0.0/8'], '10.0.0.1', `203.0.113.9${', 10.0.0.2'.repeat(5_000)}`, '10.0.0.2'],
    ['no peer', ['10.0.0.0/8'], undefined, '203.0.113.9', 'unknown'],
  ])('%s [P-067]', (_, trusted, peer, forwarded, source) => {
    expect(createSourceOf(trusted)(request(peer, forwarded))).toBe(source)
  })

  it('what is neither an address nor a CIDR trusts nobody and stops the start', () => {
    for (const text of ['loopback', '10.0.0.0/33', '10.0.0', '', '*']) expect(parseTrustedProxy(text), text).toBeNull()
    expect(() => createSourceOf(['loopback'])).toThrow(TypeError)
  })
})

describe('sourceGroup', () => {
  it.each([
    ['203.0.113.9', '203.0.113.9'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8:1:2::9', '2001:db8:1:2'],
    ['2001:db8::9', '2001:db8:0:0'],
    ['2001:0db8::', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
    ['unknown', 'unknown'],
  ])('%s counts as %s', (source, group) => {
    expect(sourceGroup(source)).toBe(group)
  })
})
