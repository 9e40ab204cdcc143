import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Installation } from './installation.ts'

/** The resource that is called, its path at the Gateway, and the key that the Gateway puts into each call. */
export const RESOURCE = 'https://items.bench.internal/'
export const CALL_PATH = '/r/items/items/17'
const APPLICATIONS = 16

export type Zone = {
  readonly id: string
  /** `client_id:client_secret` in Base64, one line per application: what Basic authentication sends. */
  readonly credentials: string
  /** File with these lines. */
  readonly credentialsFile: string
  /** One mandate that may be used until it expires, in 900 s at the latest; from the first STS unless another is named. */
  mandate(sts?: string, form?: Readonly<Record<string, string>>): Promise<string>
  /** A mandate with which the application of this credential starts and ends sessions at the Coordinator. */
  coordinatorMandate(credential: string): Promise<string>
}

/** A zone whose applications, labelled `agents`, may do all that is declared at one resource; its key is read from `ITEMS_KEY`. */
export const documents = (port: number, applications: readonly string[], operations: readonly string[]) => `
kind: Zone
name: bench
---${applications.map((name) => `\nkind: Application\nzone: bench\nname: ${name}\nlabels: [agents]\n---`).join('')}
kind: Provider
zone: bench
name: items-key
method: api_key
placement: { in: header, name: X-Api-Key }
hosts: ["127.0.0.1:${port}"]
secret: { fromEnv: ITEMS_KEY }
---
kind: Resource
zone: bench
name: items
identifier: ${RESOURCE}
upstream: http://127.0.0.1:${port}
provider: items-key
egressAllow: [127.0.0.1/32]
scopes: ["items:read", "items:write"]
operations:${operations.map((operation) => `\n  - ${operation}`).join('')}
---
kind: Policy
zone: bench
name: items
rules:
  - id: use
    allow: ["items:*"]
    on: ["${RESOURCE}"]
    for: { labels: [agents] }
`

const AGENTS = Array.from({ length: APPLICATIONS }, (_, at) => `agent-${at}`)
const OPERATIONS = ['{ method: GET, path: "/items/{id}", scope: "items:read" }', '{ method: POST, path: "/items", scope: "items:write" }']

/** The form of a request for a mandate of this zone (OAuth 2.0 client credentials, RFC 8707 resource). */
export function mintForm(extra: Readonly<Record<string, string>> = {}): string {
  return new URLSearchParams({ grant_type: 'client_credentials', resource: RESOURCE, scope: 'items:read', ...extra }).toString()
}

/** A zone with sixteen applications that may read and write one resource. */
export async function fillZone(installation: Installation): Promise<Zone> {
  const { folder, services, tokens, upstream } = installation
  const where = join(folder, 'documents')
  mkdirSync(where)
  writeFileSync(join(where, 'bench.yaml'), documents(upstream.port, AGENTS, OPERATIONS))
  const applied = await installation.caracal(['apply', '-f', where], { ITEMS_KEY: 'items-key-0123456789abcdef' })
  if (applied.code !== 0) throw new Error(applied.stderr)

  const api = <T>(path: string, body?: unknown) => askJson<T>(services.api.url + path, tokens.admin, body)
  const zones = await api<{ items: { id: string; name: string }[] }>('/v1/zones')
  const id = zones.items.find(({ name }) => name === 'bench')?.id ?? ''
  const { items } = await api<{ items: { id: string }[] }>(`/v1/zones/${id}/applications`)
  const lines = await Promise.all(
    items.map(async (one) => {
      const made = await api<{ client_id: string; client_secret: string }>(`/v1/zones/${id}/applications/${one.id}/credentials`, {
        kind: 'secret',
      })
      return Buffer.from(`${made.client_id}:${made.client_secret}`).toString('base64')
    }),
  )
  const credentialsFile = join(folder, 'credentials')
  writeFileSync(credentialsFile, `${lines.join('\n')}\n`, { mode: 0o600 })
  return {
    id,
    credentials: lines.join('\n'),
    credentialsFile,
    mandate: (sts = services.sts.url, form = {}) => mint(sts, lines[0] ?? '', mintForm({ ttl: '900', ...form })),
    coordinatorMandate: (credential) =>
      mint(services.sts.url, credential, mintForm({ resource: `${installation.issuer}/zones/${id}`, scope: 'sessions', ttl: '900' })),
  }
}

async function mint(sts: string, credential: string, form: string): Promise<string> {
  const answer = await fetch(`${sts}/oauth/2/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${credential}`, 'content-type': 'application/x-www-form-urlencoded' },
    body: form,
  })
  const body = (await answer.json()) as { access_token?: string }
  if (body.access_token === undefined) throw new Error(`no mandate: ${JSON.stringify(body)}`)
  return body.access_token
}

/** JSON of a 2xx answer to a GET, or to a POST when there is a body. */
export async function askJson<T>(url: string, bearer: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { authorization: `Bearer ${bearer}` }
  if (body !== undefined) {
    headers['content-type'] = 'application/json'
    headers['idempotency-key'] = `"${crypto.randomUUID()}"`
  }
  const answer = await fetch(url, body === undefined ? { headers } : { method: 'POST', headers, body: JSON.stringify(body) })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${text}`)
  return JSON.parse(text) as T
}
