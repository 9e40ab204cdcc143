import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { DOORS } from '../chart/call-graph.ts'
import type { Door } from '../chart/network-matrix.ts'
import type { Outcome, Target } from './connection-prober.ts'
import { NODE_ADDRESS, repository } from './place.ts'
import { run, tool } from './processes.ts'

/** Somebody who calls or is called, as the call graph names him, with the address he has now. */
export type Actor = {
  readonly party: string
  /** Which one, where a party is several. */
  readonly name: string
  readonly address: string
  /** The doors that are tried; all unless said: behind one address are several parties. */
  readonly doors?: readonly Door[]
  /** The network he calls from; one that has none is only called. */
  readonly network?: string
  /** He is of the release: calls between others are nobody's business here. */
  readonly ours: boolean
}

export type Tried = { readonly call: string; readonly between: string; readonly outcome: Outcome }

type PodObject = {
  readonly metadata: { readonly uid: string; readonly name: string; readonly labels: Readonly<Record<string, string>> }
  readonly status: { readonly podIP?: string; readonly phase: string }
}

/** The pods that run in a namespace, in their own networks. */
export function actorsIn(namespace: string, partyOf: (labels: Readonly<Record<string, string>>) => string | undefined): readonly Actor[] {
  const list = run([tool('kubectl'), '-n', namespace, 'get', 'pods', '--field-selector=status.phase=Running', '-o', 'json'])
  const { items } = JSON.parse(list) as { items: readonly PodObject[] }
  const networks = podNetworks()
  return items.flatMap(({ metadata: { uid, name, labels }, status: { podIP } }) => {
    const party = partyOf(labels)
    const network = networks.get(uid)
    if (party === undefined || podIP === undefined || network === undefined) return []
    return [{ party, name: `${namespace}/${name}`, address: podIP, network, ours: labels['app.kubernetes.io/name'] === 'caracal' }]
  })
}

/** The network of each pod that runs, by the pod's uid, through one of its processes. */
function podNetworks(): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  for (const pid of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const uid = /\/pod([0-9a-f-]{36})\//.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1]
      if (uid !== undefined) found.set(uid, `/proc/${pid}/ns/net`)
    } catch {
      // it ended while we looked
    }
  }
  return found
}

const tcp = (...ports: readonly number[]): readonly Door[] => ports.map((port) => ({ protocol: 'TCP', port }))

/** What is behind the node's address: the stores as a provider runs them, and what a pod has no business with. */
export const NODE: readonly Actor[] = [
  { party: 'postgres', doors: tcp(5432) },
  { party: 'redis', doors: tcp(6379) },
  { party: 'API server', doors: tcp(6443) },
  { party: 'kubelet', doors: tcp(10250) },
].map((one) => ({ ...one, name: 'the node', address: NODE_ADDRESS, ours: false }))

const spelled = ({ protocol, port }: Door) => (protocol === 'UDP' ? `${port}/udp` : String(port))

/** Makes a real connection for every cell between the actors, from each caller's own network. */
export async function tryEveryCall(actors: readonly Actor[]): Promise<readonly Tried[]> {
  const callers = actors.filter(({ network }) => network !== undefined)
  const tried: Tried[] = []
  let next = 0
  const worker = async () => {
    for (let caller = callers[next++]; caller !== undefined; caller = callers[next++]) tried.push(...(await callsOf(caller, actors)))
  }
  await Promise.all([worker(), worker(), worker()])
  return tried
}

async function callsOf(caller: Actor, actors: readonly Actor[]): Promise<readonly Tried[]> {
  const cells = actors
    .filter((callee) => callee.name !== caller.name && (caller.ours || callee.ours))
    .flatMap((callee) => (callee.doors ?? DOORS).map((door) => ({ callee, door })))
  const targets = cells.map(
    ({ callee, door }): Target => ({ address: callee.address, ...door, ...(caller.ours || isPod(caller) ? {} : { from: caller.address }) }),
  )
  const outcomes = await probe(caller.network ?? '', targets)
  return cells.map(({ callee, door }, index) => ({
    call: `${caller.party} > ${callee.party}:${spelled(door)}`,
    between: `${caller.name} > ${callee.name}`,
    outcome: outcomes[index] ?? 'silent',
  }))
}

const isPod = ({ network }: Actor): boolean => network?.startsWith('/proc/') ?? false

async function probe(network: string, targets: readonly Target[]): Promise<readonly Outcome[]> {
  const prober = [process.execPath, join(repository, 'tests/cluster/connection-prober.ts')]
  const child = spawn('nsenter', [`--net=${network}`, ...prober], { stdio: ['pipe', 'pipe', 'inherit'], env: { PATH: process.env.PATH } })
  const ended = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve))
  child.stdin.end(JSON.stringify(targets))
  const answer = await text(child.stdout)
  if ((await ended) !== 0) throw new Error('the prober failed')
  return JSON.parse(answer) as readonly Outcome[]
}
