import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Installation, startInstallation } from '../e2e/installation.ts'
import { type EverythingServer, startEverything } from './everything.ts'
import { type ModernServer, startModern } from './modern-server.ts'

export const KEY = 'mcp-upstream-key-0123456789abcdef'

const documents = (everything: string, modern: string, dead: string, keyed: string, adapter: string) => `
kind: Zone
name: lab
---
kind: Application
zone: lab
name: agent
labels: [lab]
---
kind: Application
zone: lab
name: other
labels: [lab]
---
kind: Provider
zone: lab
name: key
method: bearer
hosts: ["${keyed}"]
secret: { fromEnv: MCP_KEY }
---
kind: Resource
zone: lab
name: everything
type: mcp
identifier: https://everything.example/
upstream: ${everything}
egressAllow: [127.0.0.1/32]
scopes: ["tools:safe", "tools:sum", "tools:slow", "tools:hidden", "tools:asked", "docs:read", "prompts:use"]
operations:
  - { method: tools/call, path: echo, scope: "tools:safe" }
  - { method: tools/call, path: get-sum, scope: "tools:sum" }
  - { method: tools/call, path: "trigger-*", scope: "tools:slow" }
  - { method: tools/call, path: get-env, scope: "tools:hidden" }
  - { method: tools/call, path: get-tiny-image, scope: "tools:asked" }
  - { method: resources/read, path: "demo://resource/dynamic/text/*", scope: "docs:read" }
  - { method: prompts/get, path: "*", scope: "prompts:use" }
---
kind: Resource
zone: lab
name: modern
type: mcp
identifier: https://modern.example/
upstream: ${modern}
provider: key
egressAllow: [127.0.0.1/32]
scopes: ["use", "ask"]
operations:
  - { method: tools/call, path: whoami, scope: "use" }
  - { method: tools/call, path: "say-*", scope: "use" }
  - { method: tools/call, path: say-priced, scope: "use", price: { amount: "0.10", currency: EUR, actual: x-cost } }
  - { method: tools/call, path: ask, scope: "ask" }
  - { method: resources/read, path: "note://*", scope: "use" }
---
kind: Resource
zone: lab
name: dead
type: mcp
identifier: https://dead.example/
upstream: ${dead}
egressAllow: [127.0.0.1/32]
scopes: ["all"]
---
kind: Resource
zone: lab
name: elsewhere
type: mcp
identifier: https://elsewhere.example/
upstream: http://127.0.0.1:9/other
egressAllow: [127.0.0.1/32]
scopes: ["all"]
---
kind: Resource
zone: lab
name: once
type: mcp
once: true
identifier: https://once.example/
upstream: ${everything}
egressAllow: [127.0.0.1/32]
scopes: ["all"]
---
kind: Resource
zone: lab
name: discovered
type: mcp
identifier: ${adapter}/mcp/discovered
upstream: ${everything}
egressAllow: [127.0.0.1/32]
scopes: ["all"]
---
kind: Budget
zone: lab
name: agent
holder: agent
limit: { amount: "1000", currency: EUR }
per: month
---
kind: Policy
zone: lab
name: lab
rules:
  - id: use
    allow: ["tools:safe", "tools:slow", "tools:asked", "docs:read", "prompts:use", "use", "ask", "all"]
    on: ["*"]
    for: { labels: [lab] }
  - id: small-sums
    allow: ["tools:sum"]
    on: ["https://everything.example/"]
    for: { labels: [lab] }
    when: operation.arguments.a < 100.0
  - id: no-environment
    deny: ["tools:hidden"]
    on: ["*"]
    for: { any: true }
  - id: not-this-note
    deny: ["use"]
    on: ["https://modern.example/"]
    for: { any: true }
    when: operation.tool == "say-secret" || operation.tool == "note://secret"
  - id: not-for-crawlers
    deny: ["use"]
    on: ["https://modern.example/"]
    for: { any: true }
    when: has(operation.headers.accept) && operation.headers.accept == "text/crawler"
  - id: ask
    hold: ["tools:asked", "ask"]
    on: ["*"]
    for: { any: true }
    when: operation.tool != "nothing"
    approval: { tier: ops, approvers: ["role:approver"], ttl: 15m }
`

export type Client = { readonly id: string; readonly secret: string }

export type McpWorld = {
  readonly installation: Installation
  /** The adapter. */
  readonly url: string
  readonly everything: EverythingServer
  readonly modern: ModernServer
  readonly agent: Client
  readonly other: Client
  readonly zone: string
  /** What MCP_SERVERS says. */
  readonly servers: string
  mandate(form: Readonly<Record<string, string>>, client?: Client): Promise<string>
  stop(): Promise<void>
}

/** An installation with the adapter, two real MCP servers of both revisions, a dead one, and one whose resource names another URL. */
export async function startMcpWorld(args: readonly string[] = []): Promise<McpWorld> {
  const [everything, modern] = await Promise.all([startEverything(), startModern()])
  const dead = 'http://127.0.0.1:9/mcp'
  const servers = [
    `everything=${everything.url}`,
    `modern=${modern.url}`,
    `dead=${dead}`,
    `elsewhere=${everything.url}`,
    `once=${everything.url}`,
    `discovered=${everything.url}`,
  ].join(',')
  const installation = await startInstallation({ args: ['--mcp', servers, ...args] })
  const { mcp } = installation
  if (mcp === undefined) throw new Error('the adapter did not start')
  const folder = mkdtempSync(join(tmpdir(), 'caracal-mcp-'))
  writeFileSync(join(folder, 'lab.yaml'), documents(everything.url, modern.url, dead, new URL(modern.url).host, mcp))
  const applied = await installation.caracal(['apply', '-f', folder], { MCP_KEY: KEY })
  rmSync(folder, { recursive: true })
  if (applied.code !== 0) throw new Error(applied.stderr)
  const client = async (name: string): Promise<Client> => {
    const made = await installation.caracal(['--json', 'credential', 'create', name, '--zone', 'lab'])
    if (made.code !== 0) throw new Error(made.stderr)
    const { client_id, client_secret } = JSON.parse(made.stdout) as { client_id: string; client_secret: string }
    return { id: client_id, secret: client_secret }
  }
  const agent = await client('agent')
  const other = await client('other')
  const zones = JSON.parse((await installation.caracal(['--json', 'get', 'zones'])).stdout) as { id: string; name: string }[]
  return {
    installation,
    url: mcp,
    everything,
    modern,
    agent,
    other,
    servers,
    zone: zones.find(({ name }) => name === 'lab')?.id ?? '',
    async mandate(form, { id, secret } = agent) {
      const answer = await fetch(`${installation.endpoints.sts}/oauth/2/token`, {
        method: 'POST',
        headers: { authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}` },
        body: new URLSearchParams({ grant_type: 'client_credentials', ...form }),
      })
      const body = (await answer.json()) as { access_token?: string }
      if (body.access_token === undefined) throw new Error(JSON.stringify(body))
      return body.access_token
    },
    async stop() {
      await installation.remove()
      await Promise.all([everything.stop(), modern.stop()])
    },
  }
}
