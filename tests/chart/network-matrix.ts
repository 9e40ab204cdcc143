import { BlockList, isIPv6 } from 'node:net'
import type { KubeObject, Objects } from './helm.ts'
import { at, isMap, listAt, mapAt, textAt } from './tree.ts'

/** Somebody who calls or is called: a pod by its labels, or an address outside of the cluster. */
export type Party =
  | { readonly name: string; readonly namespace: string; readonly labels: Readonly<Record<string, unknown>> }
  | { readonly name: string; readonly address: string }

export type Door = { readonly protocol: 'TCP' | 'UDP'; readonly port: number }

/** The parties of a release: every pod of the render, by component. */
export function podsOf(objects: Objects): readonly Party[] {
  const parties = objects.pods().map(({ metadata }) => {
    const labels = mapAt(metadata, 'labels')
    return { name: String(labels['app.kubernetes.io/component']), namespace: 'caracal', labels }
  })
  return [...new Map(parties.map((party) => [party.name, party])).values()]
}

/** Every call that the rendered policies let through between the pods and others, as `caller > callee:port`. */
export function allowedCalls(objects: Objects, others: readonly Party[], doors: readonly Door[]): readonly string[] {
  const policies = objects.ofKind('NetworkPolicy')
  const ours = podsOf(objects)
  const all = [...ours, ...others]
  return all
    .flatMap((caller) =>
      all.flatMap((callee) => {
        if (caller === callee || (!ours.includes(caller) && !ours.includes(callee))) return []
        return doors.flatMap((door) =>
          isAllowed(policies, caller, callee, door) ? [`${caller.name} > ${callee.name}:${spelled(door)}`] : [],
        )
      }),
    )
    .toSorted()
}

const spelled = (door: Door) => (door.protocol === 'UDP' ? `${door.port}/udp` : String(door.port))

function isAllowed(policies: readonly KubeObject[], caller: Party, callee: Party, door: Door): boolean {
  return passes(policies, 'Egress', caller, callee, door) && passes(policies, 'Ingress', callee, caller, door)
}

/** Policies add up: a pod that none selects for this direction is open, otherwise one rule must let the call through. */
function passes(policies: readonly KubeObject[], direction: 'Ingress' | 'Egress', own: Party, peer: Party, door: Door): boolean {
  const rules: unknown[] = []
  let isolated = false
  for (const policy of policies) {
    if (!isPod(own) || own.namespace !== textAt(policy, 'metadata.namespace')) continue
    if (!selects(at(policy, 'spec.podSelector'), own.labels)) continue
    if (!listAt(policy, 'spec.policyTypes').includes(direction)) continue
    isolated = true
    rules.push(...listAt(policy, `spec.${direction.toLowerCase()}`))
  }
  if (!isolated) return true
  const side = direction === 'Egress' ? 'to' : 'from'
  return rules.some((rule) => letsPeer(listAt(rule, side), peer) && letsDoor(listAt(rule, 'ports'), door))
}

function letsDoor(ports: readonly unknown[], door: Door): boolean {
  if (ports.length === 0) return true
  return ports.some((entry) => {
    if ((textAt(entry, 'protocol') || 'TCP') !== door.protocol) return false
    const port = at(entry, 'port')
    if (port === undefined) return true
    const last = at(entry, 'endPort') ?? port
    if (typeof port !== 'number' || typeof last !== 'number') throw new TypeError('a policy names a port by a word')
    return port <= door.port && door.port <= last
  })
}

function letsPeer(peers: readonly unknown[], party: Party): boolean {
  if (peers.length === 0) return true
  return peers.some((peer) => {
    const block = at(peer, 'ipBlock')
    if (block !== undefined)
      return (
        !isPod(party) && contains([textAt(block, 'cidr')], party.address) && !contains(listAt(block, 'except').map(String), party.address)
      )
    if (!isPod(party)) return false
    const namespaces = at(peer, 'namespaceSelector')
    const pods = at(peer, 'podSelector')
    const here =
      namespaces === undefined ? party.namespace === 'caracal' : selects(namespaces, { 'kubernetes.io/metadata.name': party.namespace })
    return here && (pods === undefined || selects(pods, party.labels))
  })
}

function selects(selector: unknown, labels: Readonly<Record<string, unknown>>): boolean {
  if (!isMap(selector)) throw new TypeError('a selector is no map')
  const exact = Object.entries(mapAt(selector, 'matchLabels')).every(([key, value]) => labels[key] === value)
  return (
    exact &&
    listAt(selector, 'matchExpressions').every((expression) => {
      if (textAt(expression, 'operator') !== 'In') throw new TypeError('a selector uses an operator that is not evaluated here')
      return listAt(expression, 'values').includes(labels[textAt(expression, 'key')])
    })
  )
}

function contains(ranges: readonly string[], address: string): boolean {
  // A block list takes an IPv4 address for one of ::/0 too; a policy does not.
  const family = isIPv6(address) ? 'ipv6' : 'ipv4'
  const list = new BlockList()
  for (const range of ranges) {
    const [network = '', bits = ''] = range.split('/')
    if (isIPv6(network) === (family === 'ipv6')) list.addSubnet(network, Number(bits), family)
  }
  return list.check(address, family)
}

function isPod(party: Party): party is Extract<Party, { namespace: string }> {
  return 'namespace' in party
}
