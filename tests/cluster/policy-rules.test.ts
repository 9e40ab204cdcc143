import { describe, expect, test } from 'vitest'
import { CHAIN, type Policy, rulesOf, selects, without } from './policy-rules.ts'

const pod = (name: string, last: number, labels: Record<string, string>) => ({
  namespace: 'here',
  name,
  ip: `10.244.0.${last}`,
  labels,
  ports: [{ name: 'http', port: 8080 + last, protocol: 'TCP' }],
})
const PODS = [pod('caller', 1, { app: 'caller' }), pod('callee', 2, { app: 'callee' }), { ...pod('stranger', 3, {}), namespace: 'there' }]
const NAMESPACES = [
  { name: 'here', labels: { name: 'here' } },
  { name: 'there', labels: { name: 'there' } },
]

/** What a policy lets through by these rules, without the parts that are always there. */
function letThrough(policy: Omit<Policy, 'namespace'>, chain: string): readonly string[] {
  const { lines } = rulesOf({ pods: PODS, namespaces: NAMESPACES, policies: [{ namespace: 'here', ...policy }] }, [])
  return lines
    .flatMap((line) => (line.startsWith(`-A ${chain} `) && line.endsWith('-j RETURN') ? [line.slice(`-A ${chain} `.length, -10)] : []))
    .slice(1)
}

describe('what a NetworkPolicy means in rules', () => {
  test('a pod that no policy selects has no chain, and one that is selected in one direction is open in the other', () => {
    const { chains } = rulesOf(
      { pods: PODS, namespaces: NAMESPACES, policies: [{ namespace: 'here', podSelector: { matchLabels: { app: 'callee' } } }] },
      [],
    )
    expect(chains.filter((chain) => /-[EI]-/.test(chain))).toEqual(['CARACAL-I-10.244.0.2'])
  })

  test('a selected pod is reached by nobody until a rule says so, and the refusal is said aloud', () => {
    const policy = { podSelector: {}, policyTypes: ['Ingress', 'Egress'] }
    expect(letThrough(policy, 'CARACAL-I-10.244.0.2')).toEqual([])
    const { lines } = rulesOf({ pods: PODS, namespaces: NAMESPACES, policies: [{ namespace: 'here', ...policy }] }, [])
    expect(lines).toContain('-A CARACAL-I-10.244.0.2 -j REJECT --reject-with icmp-admin-prohibited')
    expect(lines).toContain('-A CARACAL-E-10.244.0.1 -j REJECT --reject-with icmp-admin-prohibited')
  })

  test.each<[string, Omit<Policy, 'namespace'>, string, readonly string[]]>([
    [
      'pods by label, in the policy’s own namespace',
      { podSelector: {}, ingress: [{ from: [{ podSelector: {} }], ports: [{ port: 80 }] }] },
      'CARACAL-I-10.244.0.2',
      ['-s 10.244.0.1 -p tcp --dport 80', '-s 10.244.0.2 -p tcp --dport 80'],
    ],
    [
      'pods of another namespace',
      { podSelector: {}, ingress: [{ from: [{ namespaceSelector: { matchLabels: { name: 'there' } } }] }] },
      'CARACAL-I-10.244.0.2',
      ['-s 10.244.0.3'],
    ],
    [
      'anybody, where no peer is named',
      { podSelector: {}, ingress: [{ ports: [{ protocol: 'UDP', port: 53 }] }] },
      'CARACAL-I-10.244.0.2',
      ['-p udp --dport 53'],
    ],
    [
      'a port by its name is the callee’s',
      { podSelector: {}, egress: [{ to: [{ podSelector: { matchLabels: { app: 'callee' } } }], ports: [{ port: 'http' }] }] },
      'CARACAL-E-10.244.0.1',
      ['-d 10.244.0.2 -p tcp --dport 8082'],
    ],
    [
      'a range of ports',
      { podSelector: {}, egress: [{ ports: [{ port: 1000, endPort: 2000 }] }] },
      'CARACAL-E-10.244.0.1',
      ['-p tcp --dport 1000:2000'],
    ],
    [
      'a range of addresses without another',
      { podSelector: {}, egress: [{ to: [{ ipBlock: { cidr: '10.0.0.0/30', except: ['10.0.0.1/32'] } }] }] },
      'CARACAL-E-10.244.0.1',
      ['-d 10.0.0.0/32', '-d 10.0.0.2/31'],
    ],
  ])('%s', (_, policy, chain, rules) => {
    expect(letThrough(policy, chain)).toEqual(rules)
  })

  test('the chain of a pod that is gone goes with it', () => {
    const { lines } = rulesOf({ pods: [], namespaces: [], policies: [] }, [CHAIN, 'CARACAL-I-10.244.0.2'])
    expect(lines.filter((line) => line.startsWith('-X'))).toEqual(['-X CARACAL-I-10.244.0.2'])
  })
})

test.each([
  ['0.0.0.0/0', [], ['0.0.0.0/0']],
  ['10.0.0.7/8', [], ['10.0.0.0/8']],
  ['10.0.0.0/31', ['10.0.0.0/31'], []],
  ['10.0.0.0/31', ['10.0.0.0/8'], []],
  ['10.0.0.0/24', ['192.168.0.0/16'], ['10.0.0.0/24']],
  ['128.0.0.0/1', ['128.0.0.0/2'], ['192.0.0.0/2']],
])('%s without %j is %j', (cidr, except, left) => {
  expect(without(cidr, except)).toEqual(left)
})

test.each([
  [{ key: 'tier', operator: 'In', values: ['a', 'b'] }, { tier: 'b' }, true],
  [{ key: 'tier', operator: 'In', values: ['a'] }, {}, false],
  [{ key: 'tier', operator: 'NotIn', values: ['a'] }, {}, true],
  [{ key: 'tier', operator: 'NotIn', values: ['a'] }, { tier: 'a' }, false],
  [{ key: 'tier', operator: 'Exists' }, { tier: '' }, true],
  [{ key: 'tier', operator: 'DoesNotExist' }, { tier: 'a' }, false],
] as const)('%j of %j: %s', (expression, labels, chosen) => {
  expect(selects({ matchExpressions: [expression] }, labels)).toBe(chosen)
})
