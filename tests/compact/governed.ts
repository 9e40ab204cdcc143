import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CompactProcess } from './compact-process.ts'

export const ZONE = 'compact'
const RESOURCE = 'https://notes.example/'

/** An upstream that remembers the path of every call that reached it. */
export async function startUpstream() {
  const seen: string[] = []
  const server = createServer((request, response) => {
    seen.push(request.url ?? '')
    setTimeout(() => response.end('{"note":1}'), request.url?.endsWith('/slow') ? 1_700 : 0)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    seen,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}

const documents = (upstream: string) => `kind: Zone
name: ${ZONE}
---
kind: Application
zone: ${ZONE}
name: agent
---
kind: Resource
zone: ${ZONE}
name: notes
identifier: ${RESOURCE}
upstream: ${upstream}
egressAllow: ["127.0.0.1/32"]
scopes: ["notes:read"]
operations:
  - { method: GET, path: "/notes/{id}", scope: "notes:read" }
---
kind: Policy
zone: ${ZONE}
name: notes
rules:
  - { id: read, allow: ["notes:read"], on: ["${RESOURCE}"], for: { any: true } }
`

/** Makes a zone with one application, one resource and one policy through the API of a process; gives the client's credential. */
export async function setUp(gateway: CompactProcess, token: string, upstream: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'caracal-compact-'))
  try {
    writeFileSync(join(folder, 'zone.yaml'), documents(upstream))
    const applied = await gateway.caracal(['apply', '-f', join(folder, 'zone.yaml')], { CARACAL_TOKEN: token })
    if (applied.code !== 0) throw new Error(applied.stderr)
    const made = await gateway.caracal(['--json', 'credential', 'create', 'agent', '-z', ZONE], { CARACAL_TOKEN: token })
    if (made.code !== 0) throw new Error(made.stderr)
    const { client_id: id, client_secret: secret } = JSON.parse(made.stdout) as { client_id: string; client_secret: string }
    return Buffer.from(`${id}:${secret}`).toString('base64')
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** A mandate of the STS beside a Gateway; tried until the zone is known there. */
export async function mint(gateway: CompactProcess, credential: string): Promise<string> {
  for (let tries = 0; ; tries += 1) {
    const answer = await fetch(`${gateway.urls.sts}/oauth/2/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${credential}`, 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ grant_type: 'client_credentials', resource: RESOURCE, ttl: '900' }),
    }).catch(() => undefined)
    const body = (await answer?.json()) as { access_token?: string } | undefined
    if (body?.access_token !== undefined) return body.access_token
    if (answer?.status === 401 || tries > 100) throw new Error(`no mandate: ${JSON.stringify(body)}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

export type Called = {
  readonly status: number
  readonly code: string | undefined
  readonly degraded: string | null
  readonly requestId: string
}

/** One governed call; status 0 when the connection broke. */
export async function call(gateway: CompactProcess, mandate: string, id: string): Promise<Called> {
  try {
    const answer = await fetch(`${gateway.url}/r/notes/notes/${id}`, {
      headers: { authorization: `Bearer ${mandate}` },
      signal: AbortSignal.timeout(30_000),
    })
    const body = (await answer.json()) as { code?: string }
    const header = (name: string) => answer.headers.get(name)
    return { status: answer.status, code: body.code, degraded: header('x-caracal-degraded'), requestId: header('x-request-id') ?? '' }
  } catch {
    return { status: 0, code: undefined, degraded: null, requestId: '' }
  }
}
