import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CALL_GRAPH, calls } from '../chart/call-graph.ts'
import { bystanders, startBystanders, stopBystanders } from './bystanders.ts'
import { type Actor, actorsIn, NODE, tryEveryCall } from './connection-matrix.ts'
import { enforced, startEnforcing, stopEnforcing } from './enforcement.ts'
import { helm, installCommand, kubectl, NAMESPACE, pods, prepare, remove } from './installation.ts'
import { AGENTS, inAgentsPod, MCP_POD_PORT, MCP_URL, mcpServerActor, startMcpServer, stopMcpServer } from './mcp-server-pod.ts'
import { inFolder, repository } from './place.ts'
import { run, until } from './processes.ts'

const ADAPTER_URL = `http://caracal-mcp-adapter.${NAMESPACE}.svc:8080/mcp/tools`
const agents = { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': AGENTS } } }

/** One replica of everything but the adapter, whose sessions any of its replicas opens. */
const values = {
  services: Object.fromEntries(['api', 'sts', 'gateway', 'audit', 'coordinator'].map((name) => [name, { replicas: 1 }])),
  mcpAdapter: {
    enabled: true,
    replicas: 2,
    servers: [
      { name: 'tools', url: MCP_URL },
      { name: 'gone', url: `http://gone.${AGENTS}.svc:8000/mcp` },
    ],
    resources: { requests: { cpu: '20m', memory: '96Mi' } },
  },
  networkPolicy: {
    extraEgress: [{ to: [agents], ports: [MCP_POD_PORT], components: ['mcp-adapter'] }],
    clients: [agents],
  },
}

const documents = `
{ kind: Zone, name: tools }
---
{ kind: Application, zone: tools, name: agent, labels: [agents] }
---
kind: Resource
zone: tools
name: tools
type: mcp
identifier: ${ADAPTER_URL}
upstream: ${MCP_URL}
egressAllow: [10.96.0.0/16]
scopes: ["text:echo", "numbers:add"]
operations:
  - { method: tools/call, path: echo, scope: "text:echo" }
  - { method: tools/call, path: get-sum, scope: "numbers:add" }
---
kind: Policy
zone: tools
name: tools
rules:
  - { id: use, allow: ["text:echo", "numbers:add"], on: ["${ADAPTER_URL}"], for: { labels: [agents] }, when: operation.tool != "get-sum" || operation.arguments.a < 100.0 }
`

/** What an agent does with the official client: lists, calls, and calls what no rule allows. */
const AGENT = `
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
const [url, token] = process.argv.slice(1)
const client = new Client({ name: 'agent', version: '1' })
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { authorization: 'Bearer ' + token } } }))
const { tools } = await client.listTools()
const { content } = await client.callTool({ name: 'get-sum', arguments: { a: 20, b: 22 } })
const refused = await client.callTool({ name: 'get-sum', arguments: { a: 900, b: 1 } }).then(() => 'answered', (error) => String(error.message))
await client.close()
console.log(JSON.stringify({ tools: tools.map(({ name }) => name).sort(), text: content[0].text, refused }))
`

const adapters = () => pods().filter(({ component, ready, ending }) => component === 'mcp-adapter' && ready && !ending)
const program = [join(repository, 'node_modules/.bin/node'), join(repository, 'apps/cli/src/main.ts')]
const address = (component: string, port: number) =>
  `http://${kubectl('-n', NAMESPACE, 'get', 'service', `caracal-${component}`, '-o', 'jsonpath={.spec.clusterIP}')}:${port}`
const secret = (key: string) =>
  Buffer.from(kubectl('-n', NAMESPACE, 'get', 'secret', 'caracal-runtime', '-o', `jsonpath={.data.${key}}`), 'base64').toString()

/** The command line from the node, against the Services. */
function caracal(settings: Readonly<Record<string, string>>, ...args: readonly string[]): string {
  const where = {
    CARACAL_API_URL: address('api', 3000),
    CARACAL_STS_URL: address('sts', 8080),
    CARACAL_AUDIT_URL: address('audit', 9090),
    ...settings,
  }
  return run(['env', ...Object.entries(where).map(([name, value]) => `${name}=${value}`), ...program, ...args])
}
const admin = (...args: readonly string[]) => caracal({ CARACAL_TOKEN: secret('adminToken') }, ...args)

let mandate = ''

beforeAll(async () => {
  prepare('rc')
  startBystanders()
  startMcpServer()
  await startEnforcing()
})
afterAll(async () => {
  await stopEnforcing()
  remove()
  stopMcpServer()
  await stopBystanders()
})

test('[P-092] switched on, every replica becomes Ready behind its policies, though one of its servers is not there', async () => {
  writeFileSync(inFolder('mcp-values.json'), JSON.stringify(values))
  helm('helm-4', ...installCommand('rc', '--values', inFolder('mcp-values.json'), '--wait', '--timeout', '300s'))
  await until('both replicas are Ready', 120, () => adapters().length === 2)
  const up = run(['curl', '-s', `http://${adapters()[0]?.ip}:9464/metrics`]).match(/^caracal_mcp_server_up\{.*$/gm)
  expect(up?.toSorted()).toEqual([expect.stringMatching(/server="gone".* 0$/), expect.stringMatching(/server="tools".* 1$/)])
})

test('an agent in another namespace lists and calls a real MCP server through it, as far as its policy goes', () => {
  writeFileSync(inFolder('tools.yaml'), documents)
  admin('apply', '-f', inFolder('tools.yaml'))
  const made = JSON.parse(admin('--json', 'credential', 'create', 'agent', '--zone', 'tools')) as Record<
    'client_id' | 'client_secret',
    string
  >
  const own = { CARACAL_CLIENT_ID: made.client_id, CARACAL_CLIENT_SECRET: made.client_secret }
  const minted = JSON.parse(caracal(own, '--json', 'mandate', '--resource', ADAPTER_URL)) as { access_token: string }
  mandate = minted.access_token
  const said = JSON.parse(inAgentsPod(AGENT, ADAPTER_URL, mandate)) as Record<'text' | 'refused', string> & { tools: string[] }
  expect(said.tools).toEqual(['echo', 'get-sum'])
  expect(said.text).toContain('42')
  expect(said.refused).not.toBe('answered')
})

test('what went through it is in the ledger under its name', async () => {
  const { token } = JSON.parse(admin('--json', 'token', 'create', 'reader', '--role', 'auditor', '--zone', 'tools')) as { token: string }
  const recorded = () => {
    caracal({ CARACAL_TOKEN: token }, 'audit', 'export', '--zone', 'tools', '--output', inFolder('tools.bundle'))
    return readFileSync(inFolder('tools.bundle'), 'utf8')
      .split('\n')
      .filter((line) => line.includes('"kind":"event"'))
      .map((line) => JSON.parse((JSON.parse(line) as { event: string }).event) as { type: string; service: string })
      .filter(({ service }) => service === 'mcp-adapter')
      .map(({ type }) => type)
  }
  await expect.poll(recorded, { timeout: 60_000, interval: 2_000 }).toEqual(expect.arrayContaining(['call.allowed', 'call.refused']))
})

test('[0-07] each cell of its call graph is answered, and every other call from it and to it is stopped', async () => {
  await enforced()
  const released = actorsIn(NAMESPACE, (labels) =>
    labels['app.kubernetes.io/name'] === 'caracal' ? labels['app.kubernetes.io/component'] : undefined,
  )
  const everybody: readonly Actor[] = [...released, ...bystanders(), ...mcpServerActor(), ...NODE]
  const graph = [
    ...CALL_GRAPH,
    ...calls(['mcp-adapter'], 'sts', 8080),
    ...calls(['mcp-adapter'], 'redis', 6379),
    ...calls(['mcp-adapter'], 'dns', 53, '53/udp'),
    ...calls(['mcp-adapter'], 'tools', MCP_POD_PORT),
    ...calls(['prometheus'], 'mcp-adapter', 9464),
    // Clients of the values.
    ...calls(['tools'], 'mcp-adapter', 8080),
    ...calls(['tools'], 'sts', 8080),
    ...calls(['tools'], 'gateway', 8081),
    ...calls(['tools'], 'api', 3000),
    ...calls(['tools'], 'coordinator', 4000),
  ]
  const tried = await tryEveryCall(everybody)
  const own = tried.filter(({ call }) => /(^|> )(mcp-adapter|tools)\b/.test(call))
  expect(own.filter(({ call, outcome }) => outcome !== (graph.includes(call) ? 'answered' : 'stopped'))).toEqual([])
  const seen = new Set(own.map(({ call }) => call))
  expect(graph.filter((call) => call.includes('mcp-adapter') && !seen.has(call))).toEqual([])
})

test('a replica that is killed comes back with its volume, and the other goes on', async () => {
  const claim = () => kubectl('-n', NAMESPACE, 'get', 'pvc', 'replay-caracal-mcp-adapter-0', '-o', 'jsonpath={.metadata.uid}')
  const before = claim()
  kubectl('-n', NAMESPACE, 'delete', 'pod', 'caracal-mcp-adapter-0', '--force', '--grace-period=0')
  await until('one replica serves', 60, () => adapters().length >= 1)
  await expect.poll(() => inAgentsPod(AGENT, ADAPTER_URL, mandate), { timeout: 60_000, interval: 2_000 }).toContain('42')
  await until('both replicas are Ready again', 120, () => adapters().length === 2)
  expect(claim()).toBe(before)
})
