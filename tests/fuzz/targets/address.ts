import { BlockList, isIP } from 'node:net'
import { classifyAddress } from '@caracal/service'
import fc from 'fast-check'
import { mutatedText } from '../mutate.ts'
import { target } from '../target.ts'

const inner = new BlockList()
for (const [net, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['224.0.0.0', 3],
] as const)
  inner.addSubnet(net, bits, 'ipv4')
for (const [net, bits] of [
  ['::', 96],
  ['fc00::', 7],
  ['fe80::', 10],
  ['ff00::', 8],
] as const)
  inner.addSubnet(net, bits, 'ipv6')

const corpus = [
  '127.0.0.1',
  '169.254.169.254',
  '::ffff:10.0.0.1',
  '::1',
  '64:ff9b::a9fe:a9fe',
  'fd00:ec2::254',
  '2002:7f00:1::',
  '8.8.8.8',
  '2606:4700::1111',
  '0x7f.1',
  '017700000001',
  '2130706433',
  'fe80::1%eth0',
  '2606:4700::1%25%2e',
]

export const address = target(
  { name: 'address', guarantee: '[P-079] no spelling of an inner address passes for a public one', runs: 4000 },
  fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    mutatedText(corpus),
    fc.ipV4().map((v4) => `::ffff:${v4}`),
  ),
  (text) => {
    if (classifyAddress(text) !== 'public') return
    const family = isIP(text)
    if (family === 0) throw new Error(`${text} is no address`)
    if (inner.check(text, family === 4 ? 'ipv4' : 'ipv6')) throw new Error(`${text} is inside`)
  },
)
