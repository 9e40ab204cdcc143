import { POD_RANGE } from './place.ts'

/** What of the cluster's objects decides who may call whom. */
export type PodFacts = {
  readonly namespace: string
  readonly name: string
  readonly ip: string
  readonly labels: Labels
  /** Ports by name, as a policy may call them. */
  readonly ports: readonly { readonly name: string; readonly port: number; readonly protocol: string }[]
}
export type NamespaceFacts = { readonly name: string; readonly labels: Labels }
export type Policy = {
  readonly namespace: string
  readonly podSelector: Selector
  readonly policyTypes?: readonly string[]
  readonly ingress?: readonly { readonly from?: readonly Peer[]; readonly ports?: readonly Port[] }[]
  readonly egress?: readonly { readonly to?: readonly Peer[]; readonly ports?: readonly Port[] }[]
}
export type State = {
  readonly pods: readonly PodFacts[]
  readonly namespaces: readonly NamespaceFacts[]
  readonly policies: readonly Policy[]
}

type Labels = Readonly<Record<string, string>>
type Expression = { readonly key: string; readonly operator: string; readonly values?: readonly string[] }
type Selector = { readonly matchLabels?: Labels; readonly matchExpressions?: readonly Expression[] }
type Peer = {
  readonly podSelector?: Selector
  readonly namespaceSelector?: Selector
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] }
}
type Port = { readonly protocol?: string; readonly port?: number | string; readonly endPort?: number }

export const CHAIN = 'CARACAL-POLICIES'
const UNKNOWN_SOURCE = 'CARACAL-KNOWN-SRC'
const UNKNOWN_DESTINATION = 'CARACAL-KNOWN-DST'

/**
 * The lines that say for `iptables-restore` what NetworkPolicies mean on a node whose pods have a route each: what a policy stops is
 * answered with "administratively prohibited", so that nobody takes it for a port without a listener. Answers to what was let through
 * pass. What the node itself sends does not come here (it leaves by OUTPUT): probes are always allowed. A pod that the API server has no
 * address of yet reaches nobody and waits: nothing slips through before its rules stand. IPv4 only.
 *
 * `before` are the chains of the last time: those of pods that are gone are removed.
 */
export function rulesOf(
  state: State,
  before: readonly string[],
): { readonly lines: readonly string[]; readonly chains: readonly string[] } {
  const isolated = state.pods.flatMap((pod) => [...chainsOf(state, pod, 'Egress'), ...chainsOf(state, pod, 'Ingress')])
  const main = [
    `-A ${CHAIN} -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN`,
    `-A ${CHAIN} ! -i lo -s ${POD_RANGE} -j ${UNKNOWN_SOURCE}`,
    `-A ${CHAIN} -d ${POD_RANGE} -m addrtype ! --dst-type LOCAL -j ${UNKNOWN_DESTINATION}`,
    ...isolated.map(({ jump }) => jump),
    ...state.pods.map(({ ip }) => `-A ${UNKNOWN_SOURCE} -s ${ip} -j RETURN`),
    ...state.pods.map(({ ip }) => `-A ${UNKNOWN_DESTINATION} -d ${ip} -j RETURN`),
    ...[UNKNOWN_SOURCE, UNKNOWN_DESTINATION].map((chain) => `-A ${chain} -j DROP`),
  ]
  const chains = [CHAIN, UNKNOWN_SOURCE, UNKNOWN_DESTINATION, ...isolated.map(({ chain }) => chain)]
  const gone = before.filter((chain) => !chains.includes(chain))
  const lines = [
    '*filter',
    ...[...chains, ...gone].map((chain) => `:${chain} - [0:0]`),
    ...main,
    ...isolated.flatMap(({ rules }) => rules),
    ...gone.map((chain) => `-X ${chain}`),
    'COMMIT',
  ]
  return { lines, chains }
}

type Direction = 'Ingress' | 'Egress'

/** The chain of a pod in one direction; none when no policy selects it there. */
function chainsOf(state: State, pod: PodFacts, direction: Direction) {
  const policies = state.policies.filter(
    (policy) => policy.namespace === pod.namespace && selects(policy.podSelector, pod.labels) && typesOf(policy).includes(direction),
  )
  if (policies.length === 0) return []
  const [own, other, chain] = direction === 'Egress' ? ['-s', '-d', `CARACAL-E-${pod.ip}`] : (['-d', '-s', `CARACAL-I-${pod.ip}`] as const)
  const matches = policies.flatMap((policy) =>
    direction === 'Egress'
      ? (policy.egress ?? []).flatMap(({ to, ports }) => matchesOf(state, policy, to, ports, (peer) => peer))
      : (policy.ingress ?? []).flatMap(({ from, ports }) => matchesOf(state, policy, from, ports, () => pod)),
  )
  const rules = [
    `-A ${chain} ${other} ${pod.ip} -j RETURN`,
    ...matches.map(({ peer, port }) => `-A ${chain}${peer === undefined ? '' : ` ${other} ${peer}`}${port} -j RETURN`),
    `-A ${chain} -j REJECT --reject-with icmp-admin-prohibited`,
  ]
  return [{ chain, jump: `-A ${CHAIN} ${own} ${pod.ip} -j ${chain}`, rules: [...new Set(rules)] }]
}

const typesOf = (policy: Policy): readonly string[] => policy.policyTypes ?? ['Ingress', ...(policy.egress === undefined ? [] : ['Egress'])]

/** Every pair of a peer and a port that one rule lets through; `callee` says on whom a port's name is looked up. */
function matchesOf(
  state: State,
  policy: Policy,
  peers: readonly Peer[] | undefined,
  ports: readonly Port[] | undefined,
  callee: (peer: PodFacts | undefined) => PodFacts | undefined,
): readonly { readonly peer: string | undefined; readonly port: string }[] {
  const whom: readonly Whom[] =
    peers === undefined || peers.length === 0
      ? [{ address: undefined, pod: undefined }]
      : peers.flatMap((peer) => addressesOf(state, policy, peer))
  return whom.flatMap(({ address, pod }) => portsOf(ports, callee(pod)).map((port) => ({ peer: address, port })))
}

type Whom = { readonly address: string | undefined; readonly pod: PodFacts | undefined }

function addressesOf(state: State, policy: Policy, { ipBlock, namespaceSelector, podSelector }: Peer): readonly Whom[] {
  if (ipBlock !== undefined)
    return ipBlock.cidr.includes(':')
      ? []
      : without(
          ipBlock.cidr,
          (ipBlock.except ?? []).filter((range) => !range.includes(':')),
        ).map((address) => ({ address, pod: undefined }))
  const namespaces = state.namespaces
    .filter(({ name, labels }) => (namespaceSelector === undefined ? name === policy.namespace : selects(namespaceSelector, labels)))
    .map(({ name }) => name)
  return state.pods
    .filter((pod) => namespaces.includes(pod.namespace) && (podSelector === undefined || selects(podSelector, pod.labels)))
    .map((pod) => ({ address: pod.ip, pod }))
}

/** How iptables says it; a name that the callee has no port of matches nothing. */
function portsOf(ports: readonly Port[] | undefined, callee: PodFacts | undefined): readonly string[] {
  if (ports === undefined || ports.length === 0) return ['']
  return ports.flatMap(({ protocol = 'TCP', port, endPort }) => {
    const match = ` -p ${protocol.toLowerCase()}`
    if (port === undefined) return [match]
    if (typeof port === 'number') return [`${match} --dport ${port}${endPort === undefined ? '' : `:${endPort}`}`]
    return (callee?.ports ?? [])
      .filter((one) => one.name === port && one.protocol === protocol)
      .map((one) => `${match} --dport ${one.port}`)
  })
}

export function selects({ matchLabels = {}, matchExpressions = [] }: Selector, labels: Labels): boolean {
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const value = labels[key]
      if (operator === 'Exists') return value !== undefined
      if (operator === 'DoesNotExist') return value === undefined
      if (operator === 'In') return value !== undefined && values.includes(value)
      if (operator === 'NotIn') return value === undefined || !values.includes(value)
      throw new TypeError(`a selector uses ${operator}`)
    })
  )
}

/** The ranges of a range that are left without others. */
export function without(cidr: string, except: readonly string[]): readonly string[] {
  const [address = '', bits = '32'] = cidr.split('/')
  const length = Number(bits)
  const start = numberOf(address) & maskOf(length)
  const inside = except.filter((range) => overlaps({ start, length }, range))
  if (inside.length === 0) return [`${textOf(start)}/${length}`]
  if (inside.some((range) => Number(range.split('/')[1]) <= length)) return []
  const half = length + 1
  return [start, start | (1n << BigInt(32 - half))].flatMap((part) => without(`${textOf(part)}/${half}`, inside))
}

function overlaps(range: { start: bigint; length: number }, other: string): boolean {
  const [address = '', bits = '32'] = other.split('/')
  const shorter = maskOf(Math.min(range.length, Number(bits)))
  return (numberOf(address) & shorter) === (range.start & shorter)
}

const maskOf = (length: number): bigint => (0xffffffffn << BigInt(32 - length)) & 0xffffffffn
const numberOf = (address: string): bigint => address.split('.').reduce((sum, part) => (sum << 8n) | BigInt(part), 0n)
const textOf = (address: bigint): string => [24n, 16n, 8n, 0n].map((shift) => (address >> shift) & 255n).join('.')
