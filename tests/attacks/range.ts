import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Installation, startInstallation } from '../e2e/installation.ts'

/** What an attacker wants: it goes upstream and must never come back. */
export const KEY = 'range-upstream-key-0123456789abcdef'
export const ROLES = ['api', 'sts', 'gateway', 'audit', 'coordinator'] as const
export type Role = (typeof ROLES)[number]

/** Metrics ports of the embedded roles without an offset, and the port that tells the offset. */
const METRICS: Readonly<Record<Role, number>> = { api: 9464, sts: 9465, gateway: 9466, audit: 9467, coordinator: 9468 }
const GATEWAY_PORT = 8081

/** An upstream of the range: where it is, what else its document says (YAML lines of a Resource), and whether the key goes to it. */
export type Target = { readonly url: string; readonly more?: string; readonly provider?: false }

export type Event = {
  readonly type: string
  readonly reason?: string
  readonly count?: number
  readonly request_id?: string
  readonly outcome?: { readonly status: number; readonly interrupted?: string; readonly bytes_in: number; readonly bytes_out: number }
}

export type Range = {
  readonly installation: Installation
  readonly zone: string
  readonly client: { readonly clientId: string; readonly clientSecret: string }
  /** Where a listener is. */
  port(role: Role): number
  /** A mandate for a resource by its name. */
  mandate(resource: string, form?: Readonly<Record<string, string>>): Promise<string>
  /** A number from `/metrics` of a role; 0 when there is no such series. */
  metric(role: Role, name: string, labels?: string): Promise<number>
  events(query: string): Promise<Event[]>
  stop(): Promise<void>
}

/** An installation with one Resource for each target; the provider's key goes to all of them. */
export async function startRange(targets: Readonly<Record<string, Target>>, policy = ''): Promise<Range> {
  const installation = await startInstallation()
  const folder = mkdtempSync(join(tmpdir(), 'caracal-range-'))
  writeFileSync(join(folder, 'range.yaml'), documents(targets, policy))
  const applied = await installation.caracal(['apply', '-f', folder], { RANGE_KEY: KEY })
  rmSync(folder, { recursive: true })
  if (applied.code !== 0) throw new Error(applied.stderr)
  const made = await installation.caracal(['--json', 'credential', 'create', 'attacker', '--zone', 'range'])
  if (made.code !== 0) throw new Error(made.stderr)
  const { client_id: clientId, client_secret: clientSecret } = JSON.parse(made.stdout) as Record<'client_id' | 'client_secret', string>
  const { endpoints, home } = installation
  const keyOf = (name: string) => readFileSync(join(home, 'keys', name), 'utf8').trim()
  const authorization = `Bearer ${keyOf('admin-token')}`
  const zones = (await (await fetch(`${endpoints.api}/v1/zones`, { headers: { authorization } })).json()) as {
    items: { id: string; name: string }[]
  }
  const zone = zones.items.find(({ name }) => name === 'range')?.id ?? ''
  const port = (role: Role) => Number(new URL(endpoints[role]).port)
  const offset = port('gateway') - GATEWAY_PORT

  return {
    installation,
    zone,
    client: { clientId, clientSecret },
    port,
    mandate: async (resource, form = {}) => {
      const answer = await fetch(`${endpoints.sts}/oauth/2/token`, {
        method: 'POST',
        headers: { authorization: `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}` },
        body: new URLSearchParams({ grant_type: 'client_credentials', resource: `https://${resource}.example/`, ...form }),
      })
      const body = (await answer.json()) as { access_token?: string }
      if (body.access_token === undefined) throw new Error(JSON.stringify(body))
      return body.access_token
    },
    metric: async (role, name, labels = '') => {
      const text = await (await fetch(`http://127.0.0.1:${METRICS[role] + offset}/metrics`)).text()
      const line = text.split('\n').find((one) => one.startsWith(`${name}${labels} `) || one.startsWith(`${name}${labels}{`))
      return Number(line?.split(' ').at(-1) ?? 0)
    },
    events: async (query) => {
      const answer = await fetch(`${endpoints.audit}/v1/zones/${zone}/events?limit=500&${query}`, {
        headers: { authorization: `Bearer ${keyOf('audit-admin-token')}` },
      })
      const { items } = (await answer.json()) as { items: { event: string }[] }
      return items.map(({ event }) => JSON.parse(event) as Event)
    },
    stop: () => installation.remove(),
  }
}

function documents(targets: Readonly<Record<string, Target>>, policy: string): string {
  const withKey = Object.values(targets).filter(({ provider }) => provider !== false)
  const hosts = withKey.map(({ url }) => JSON.stringify(new URL(url).host))
  const resources = Object.entries(targets).map(
    ([name, { url, more, provider }]) => `---
kind: Resource
zone: range
name: ${name}
identifier: https://${name}.example/
upstream: ${url}
${provider === false ? '' : 'provider: range-key\n'}${more ?? 'egressAllow: [127.0.0.0/8]\nscopes: ["use"]'}
`,
  )
  return `
kind: Zone
name: range
---
kind: Application
zone: range
name: attacker
labels: [range]
---
kind: Provider
zone: range
name: range-key
method: bearer
hosts: [${[...new Set(hosts)].join(', ')}]
secret: { fromEnv: RANGE_KEY }
${resources.join('')}---
kind: Policy
zone: range
name: range
rules:
  - id: use
    allow: ["*"]
    on: ["*"]
    for: { labels: [range] }
${policy}`
}

export type Wire = {
  readonly socket: Socket
  /** Everything that came back so far. */
  received(): string
  /** Resolves when the other side or the patience of the test ended it; with everything that came back. */
  readonly ended: Promise<string>
  send(bytes: string): void
}

/** A connection that says whatever it is told to. */
export function open(port: number, bytes = '', patienceMs = 60_000): Wire {
  let text = ''
  const socket = connect({ port, host: '127.0.0.1' }, () => socket.write(bytes, 'latin1'))
  socket.setTimeout(patienceMs, () => socket.destroy())
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
  })
  socket.on('error', () => {})
  const ended = new Promise<string>((resolve) => socket.once('close', () => resolve(text)))
  return { socket, received: () => text, ended, send: (more) => void (socket.writable && socket.write(more, 'latin1')) }
}

/** Sends bytes and takes what comes until the other side ends the connection, or stays silent for a while after it said something. */
export async function exchange(port: number, bytes: string, quietMs = 400): Promise<string> {
  const wire = open(port, bytes)
  let heard = 0
  const watch = setInterval(() => {
    if (wire.received().length > 0 && wire.received().length === heard) wire.socket.destroy()
    heard = wire.received().length
  }, quietMs)
  const answer = await wire.ended
  clearInterval(watch)
  return answer
}

/** Status lines of everything that was answered on a connection. */
export function statuses(answer: string): number[] {
  return [...answer.matchAll(/HTTP\/1\.1 (\d{3})[ \r]/g)].map(([, status]) => Number(status))
}

export function codeOf(answer: string): string | undefined {
  return /"code":"(\w+)"/.exec(answer)?.[1]
}

/** Until it holds; fails with what was found last. */
export async function until<T>(find: () => Promise<T> | T, holds: (found: T) => boolean, withinMs = 40_000): Promise<T> {
  const deadline = performance.now() + withinMs
  for (;;) {
    const found = await find()
    if (holds(found)) return found
    if (performance.now() > deadline) throw new Error(`still ${JSON.stringify(found)}`)
    await sleep(50)
  }
}
