import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Installation, startInstallation } from './installation.ts'

export const LAB = 'https://lab.example/'
export const KEY = 'lab-upstream-key-0123456789abcdef'

export type Upstream = {
  readonly port: number
  /** Request lines seen, oldest first. */
  readonly seen: { method: string; url: string; headers: IncomingMessage['headers'] }[]
  stop(): Promise<void>
}

/** An upstream that notes what reaches it and answers after `delay` milliseconds; `/stream` never ends. */
export async function startUpstream({ delay = 0 } = {}): Promise<Upstream> {
  const seen: Upstream['seen'] = []
  const server = createServer((request, response) => {
    seen.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers })
    if (request.url?.startsWith('/stream')) return stream(response)
    request.resume()
    const answer = () => response.writeHead(200, { 'content-type': 'text/plain' }).end('from the upstream')
    request.on('end', () => (delay === 0 ? answer() : setTimeout(answer, delay)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    seen,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function stream(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.write('data: begun\n\n')
}

const documents = (port: number) => `
kind: Zone
name: lab
---
kind: Application
zone: lab
name: caller
labels: [lab]
---
kind: Application
zone: lab
name: helper
labels: [lab]
---
kind: Provider
zone: lab
name: lab-key
method: api_key
placement: { in: header, name: X-Api-Key }
hosts: ["127.0.0.1:${port}", "127.0.0.1:9"]
secret: { fromEnv: LAB_KEY }
---
kind: Resource
zone: lab
name: lab
identifier: ${LAB}
upstream: http://127.0.0.1:${port}
provider: lab-key
egressAllow: [127.0.0.1/32]
maxBodyBytes: 1000
scopes: ["lab:read", "lab:write", "lab:frozen"]
operations:
  - { method: GET, path: "/items/{id}", scope: "lab:read" }
  - { method: GET, path: "/stream", scope: "lab:read" }
  - { method: POST, path: "/items", scope: "lab:write" }
  - { method: GET, path: "/frozen", scope: "lab:frozen" }
---
kind: Resource
zone: lab
name: guarded
identifier: https://guarded.example/
upstream: http://127.0.0.1:${port}
scopes: ["lab:read"]
---
kind: Resource
zone: lab
name: away
identifier: https://away.example/
upstream: http://127.0.0.1:9
provider: lab-key
egressAllow: [127.0.0.1/32]
scopes: ["lab:read"]
---
kind: Policy
zone: lab
name: lab
rules:
  - id: use
    allow: ["lab:*"]
    on: ["*"]
    for: { labels: [lab] }
  - id: small
    deny: ["lab:write"]
    on: ["${LAB}"]
    for: { any: true }
    when: operation.body.amount > 500.0
`

export type Client = { readonly clientId: string; readonly clientSecret: string }

export type Lab = {
  readonly installation: Installation
  readonly upstream: Upstream
  readonly caller: Client
  readonly helper: Client
  readonly zone: string
  /** The token endpoint, raw. */
  token(
    client: Client,
    form: Readonly<Record<string, string>>,
  ): Promise<{ status: number; body: Record<string, unknown>; headers: Headers }>
  /** A mandate, or an error with what the token endpoint said. */
  mandate(form?: Readonly<Record<string, string>>, client?: Client): Promise<{ token: string; id: string }>
  stop(): Promise<void>
}

/** An installation with a zone to try things on. */
export async function startLab(args: readonly string[] = []): Promise<Lab> {
  const upstream = await startUpstream()
  const installation = await startInstallation({ args })
  const folder = mkdtempSync(join(tmpdir(), 'caracal-lab-'))
  writeFileSync(join(folder, 'lab.yaml'), documents(upstream.port))
  const applied = await installation.caracal(['apply', '-f', folder], { LAB_KEY: KEY })
  rmSync(folder, { recursive: true })
  if (applied.code !== 0) throw new Error(applied.stderr)
  const client = async (name: string): Promise<Client> => {
    const made = await installation.caracal(['--json', 'credential', 'create', name, '--zone', 'lab'])
    if (made.code !== 0) throw new Error(made.stderr)
    const { client_id, client_secret } = JSON.parse(made.stdout) as { client_id: string; client_secret: string }
    return { clientId: client_id, clientSecret: client_secret }
  }
  const caller = await client('caller')
  const helper = await client('helper')
  const zones = JSON.parse((await installation.caracal(['--json', 'get', 'zones'])).stdout) as { id: string; name: string }[]
  const token: Lab['token'] = async ({ clientId, clientSecret }, form) => {
    const answer = await fetch(`${installation.endpoints.sts}/oauth/2/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}` },
      body: new URLSearchParams({ grant_type: 'client_credentials', ...form }),
    })
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown>, headers: answer.headers }
  }
  return {
    installation,
    upstream,
    caller,
    helper,
    zone: zones.find(({ name }) => name === 'lab')?.id ?? '',
    token,
    mandate: async (form = {}, by = caller) => {
      const { status, body } = await token(by, { resource: LAB, ...form })
      if (status !== 200) throw new Error(JSON.stringify(body))
      return { token: String(body.access_token), id: String(body.mandate_id) }
    },
    stop: async () => {
      await installation.remove()
      await upstream.stop()
    },
  }
}
