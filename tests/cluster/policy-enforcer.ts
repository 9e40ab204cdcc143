/**
 * `node tests/cluster/policy-enforcer.ts`, in the cluster's network: holds the NetworkPolicies that are on the API server against every
 * connection of every pod, as a network plugin does, and follows what changes. What it holds now is written to `enforced.json`. At
 * SIGTERM its rules go.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import { inFolder } from './place.ts'
import { CHAIN, type NamespaceFacts, type PodFacts, type Policy, rulesOf } from './policy-rules.ts'

type Metadata = {
  readonly uid: string
  readonly name: string
  readonly namespace?: string
  readonly generation?: number
  readonly labels?: Readonly<Record<string, string>>
}
type Item = { readonly metadata: Metadata }
type PolicyItem = Item & { readonly spec: Omit<Policy, 'namespace'> }
type PodItem = Item & {
  readonly spec: {
    readonly hostNetwork?: boolean
    readonly containers: readonly { readonly ports?: readonly { name?: string; containerPort: number; protocol?: string }[] }[]
  }
  readonly status: { readonly podIP?: string; readonly phase?: string }
}

const credentials = {
  ca: readFileSync(inFolder('pki/ca.crt')),
  cert: readFileSync(inFolder('pki/admin.crt')),
  key: readFileSync(inFolder('pki/admin.key')),
}
const ending = new AbortController()

/** Every refusal is answered: the kernel would be sparing with such answers, and a second of silence looks like another thing. */
const ANSWERS = '/proc/sys/net/ipv4/icmp_ratemask'
const answersBefore = readFileSync(ANSWERS, 'utf8')
writeFileSync(ANSWERS, '0')

/** The lines of an answer of the API server, as they come. */
async function* linesOf(path: string): AsyncGenerator<string> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request({ host: '127.0.0.1', port: 6443, path, ...credentials, signal: ending.signal }, resolve)
      .on('error', reject)
      .end()
  })
  response.setEncoding('utf8')
  let rest = ''
  for await (const part of response) {
    const lines = (rest + part).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
  if (rest !== '') yield rest
}

/** Keeps `known` as the API server has it, for as long as this process lives. */
async function follow(path: string, known: Map<string, Item>, listed: () => void): Promise<void> {
  while (!ending.signal.aborted) {
    try {
      let text = ''
      for await (const line of linesOf(path)) text += line
      const list = JSON.parse(text) as { items: readonly Item[]; metadata: { resourceVersion: string } }
      known.clear()
      for (const item of list.items) known.set(item.metadata.uid, item)
      listed()
      hold()
      for await (const line of linesOf(`${path}?watch=1&resourceVersion=${list.metadata.resourceVersion}`)) {
        const { type, object } = JSON.parse(line) as { type: string; object: Item }
        if (type === 'ERROR') break
        if (type === 'DELETED') known.delete(object.metadata.uid)
        else known.set(object.metadata.uid, object)
        hold()
      }
    } catch (error) {
      if (!ending.signal.aborted) process.stderr.write(`${path}: ${String(error)}\n`)
    }
    await sleep(250)
  }
}

const pods = new Map<string, PodItem>()
const namespaces = new Map<string, Item>()
const policies = new Map<string, PolicyItem>()
const missing = new Set(['pods', 'namespaces', 'networkpolicies'])

/** A pod that has ended has no address any more; one of the node's network has that of the node. */
const podFacts = ({ metadata, spec, status }: PodItem): readonly PodFacts[] =>
  status.podIP === undefined || spec.hostNetwork === true || status.phase === 'Succeeded' || status.phase === 'Failed'
    ? []
    : [
        {
          namespace: metadata.namespace ?? '',
          name: metadata.name,
          ip: status.podIP,
          labels: metadata.labels ?? {},
          ports: spec.containers
            .flatMap(({ ports = [] }) => ports)
            .map(({ name = '', containerPort, protocol = 'TCP' }) => ({ name, port: containerPort, protocol })),
        },
      ]

let chains: readonly string[] = []
let lines = ''

/** Puts the rules of what is known now in the place of the last ones, at once. */
function hold(): void {
  if (missing.size > 0) return
  const state = {
    pods: [...pods.values()].flatMap(podFacts),
    namespaces: [...namespaces.values()].map(({ metadata }): NamespaceFacts => ({ name: metadata.name, labels: metadata.labels ?? {} })),
    policies: [...policies.values()].map(({ metadata, spec }): Policy => ({ ...spec, namespace: metadata.namespace ?? '' })),
  }
  const next = rulesOf(state, chains)
  const text = `${next.lines.join('\n')}\n`
  if (text !== lines) {
    execFileSync('iptables-restore', ['--noflush', '--wait'], { input: text, stdio: ['pipe', 'inherit', 'inherit'] })
    if (chains.length === 0) for (const hook of ['FORWARD', 'INPUT']) iptables('-I', hook, '1', '-j', CHAIN)
    chains = next.chains
    lines = text
  }
  const held = {
    pods: Object.fromEntries(state.pods.map(({ namespace, name, ip }) => [`${namespace}/${name}`, ip])),
    policies: Object.fromEntries([...policies.values()].map(({ metadata }) => [metadata.uid, metadata.generation])),
  }
  writeFileSync(inFolder('enforced.json.part'), JSON.stringify(held))
  renameSync(inFolder('enforced.json.part'), inFolder('enforced.json'))
}

const iptables = (...args: readonly string[]) => execFileSync('iptables', ['--wait', ...args], { stdio: 'inherit' })

process.on('SIGTERM', () => {
  ending.abort()
  writeFileSync(ANSWERS, answersBefore)
  if (chains.length > 0) {
    for (const hook of ['FORWARD', 'INPUT']) iptables('-D', hook, '-j', CHAIN)
    const gone = ['*filter', ...chains.map((chain) => `:${chain} - [0:0]`), ...chains.map((chain) => `-X ${chain}`), 'COMMIT']
    execFileSync('iptables-restore', ['--noflush', '--wait'], { input: `${gone.join('\n')}\n` })
  }
  process.exit(0)
})

await Promise.all([
  follow('/api/v1/pods', pods, () => missing.delete('pods')),
  follow('/api/v1/namespaces', namespaces, () => missing.delete('namespaces')),
  follow('/apis/networking.k8s.io/v1/networkpolicies', policies, () => missing.delete('networkpolicies')),
])
