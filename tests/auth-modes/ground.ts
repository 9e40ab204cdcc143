import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { apiConfiguration, startApi } from '@caracal/api'
import { auditConfiguration, startAudit } from '@caracal/audit'
import { type Event, keyRing } from '@caracal/core'
import { gatewayConfiguration, startGateway } from '@caracal/gateway'
import { freshDatabaseUrl } from '@caracal/harness'
import { type Database, migrateUp, openDatabase } from '@caracal/postgres'
import type { RunningService } from '@caracal/service'
import { openStreams, type Streams } from '@caracal/streams'
import { startSts, stsConfiguration } from '@caracal/sts'
import { startUpstream, type Upstream } from '../e2e/lab.ts'

export const IDENTIFIER = 'https://lab.example/'

const documents = (port: number) => `
kind: Zone
name: lab
---
kind: Application
name: agent
labels: [lab]
---
kind: Application
name: other
labels: [lab]
---
kind: Application
name: stranger
---
kind: Provider
name: lab-key
method: bearer
hosts: ["127.0.0.1:${port}"]
secret: { fromEnv: LAB_KEY }
---
kind: Resource
name: lab
identifier: ${IDENTIFIER}
upstream: http://127.0.0.1:${port}
provider: lab-key
egressAllow: [127.0.0.1/32]
scopes: ["lab:read", "lab:bound", "lab:once"]
operations:
  - { method: GET, path: "/items/{id}", scope: "lab:read" }
  - { method: GET, path: "/stream", scope: "lab:read" }
  - { method: GET, path: "/bound", scope: "lab:bound" }
  - { method: GET, path: "/once", scope: "lab:once" }
---
kind: Policy
name: lab
rules:
  - id: read
    allow: ["lab:read"]
    on: ["*"]
    for: { labels: [lab] }
  - id: bound
    allow: ["lab:bound"]
    on: ["*"]
    for: { labels: [lab] }
    limits: { senderConstrained: true }
  - id: once
    allow: ["lab:once"]
    on: ["*"]
    for: { labels: [lab] }
    limits: { once: true }
`

/** What curl brought home. */
export type Answer = {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  /** `code` of a refusal. */
  readonly code: string | undefined
  /** curl's own, when there was no answer. */
  readonly failed: string | undefined
}

export type Ground = {
  readonly folder: string
  readonly zone: string
  readonly database: Database
  readonly upstream: Upstream
  /** Environment of a Gateway beside what `gateway` is given. */
  readonly environment: Readonly<Record<string, string>>
  /** Environment of the CLI. */
  readonly cli: Readonly<Record<string, string>>
  /** Ids by name. */
  readonly applications: Readonly<Record<string, string>>
  api(method: string, path: string, body?: unknown): Promise<{ status: number; body: Record<string, string> }>
  /** A Gateway with these settings, on the streams of all or its own; everything is stopped at the end. */
  gateway(settings: Readonly<Record<string, string>>, streams?: Streams): Promise<RunningService & { readonly tls: string }>
  /** The event of this type about the request that an answer is for; waits until it is in the ledger. */
  event(answer: Answer, type: Event['type']): Promise<Event>
  stop(): Promise<void>
}

const hex = () => randomBytes(32).toString('hex')

/** API, STS and Audit on a real Postgres, and as many Gateways beside them as a test wants. */
export async function startGround(): Promise<Ground> {
  const folder = mkdtempSync(join(tmpdir(), 'caracal-auth-'))
  const upstream = await startUpstream()
  const url = await freshDatabaseUrl()
  const database = await openDatabase({ url })
  await migrateUp(database)
  const keys = { STREAMS_HMAC_KEY: hex(), AUDIT_HMAC_KEY: hex(), GATEWAY_STS_HMAC_KEY: hex(), ZONE_KEK: hex() }
  const silent = { info: () => {}, warn: () => {}, error: () => {} }
  const streams = openStreams({ driver: 'postgres', database, keys: keyRing(Buffer.from(keys.STREAMS_HMAC_KEY, 'hex')), logger: silent })
  const common = {
    CARACAL_MODE: 'dev',
    HOST: '127.0.0.1',
    PORT: '0',
    METRICS_PORT: '0',
    LOG_LEVEL: 'silent',
    STREAMS_DRIVER: 'postgres',
    ISSUER_URL: 'https://sts.example',
    EVIDENCE: 'async',
  }
  const token = `bootstrap-${randomBytes(24).toString('base64url')}`
  const shared = { database, streams }
  const services: RunningService[] = []
  const started = async (service: Promise<RunningService>) => {
    const one = await service
    services.push(one)
    return one
  }
  const sts = await started(startSts(stsConfiguration.parse({ ...common, ...keys, SPOOL_DIR: join(folder, 'sts') }), shared))
  const STS_URL = sts.address.url
  const api = await started(startApi(apiConfiguration.parse({ ...common, ...keys, STS_URL, ADMIN_TOKEN: token }), shared))
  const audit = await started(startAudit(auditConfiguration.parse({ ...common, ...keys, ADMIN_TOKEN: token }), shared))

  const ask = async (base: string, method: string, path: string, body?: unknown) => {
    const headers = { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) }
    const answer = await fetch(base + path, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
    const text = await answer.text()
    return { status: answer.status, body: text.startsWith('{') ? JSON.parse(text) : {} }
  }
  const applied = await ask(api.address.url, 'POST', '/v1/apply', {
    mode: 'apply',
    activate: true,
    documents: [{ file: 'lab.yaml', text: documents(upstream.port) }],
    secrets: { 'env:LAB_KEY': 'lab-upstream-key-0123456789abcdef' },
  })
  if (applied.status !== 200) throw new Error(JSON.stringify(applied))
  const zone = (await ask(api.address.url, 'GET', '/v1/zones')).body.items[0].id
  const rows = (await ask(api.address.url, 'GET', `/v1/zones/${zone}/applications`)).body.items as { id: string; name: string }[]

  // A busy machine is not what is tried here.
  const patience = { MAX_QUEUE_DELAY: '10s', LEDGER_MAX_LAG: '1h', REVOCATION_MAX_AGE: '60s' }
  const environment = { ...common, ...keys, ...patience, STS_URL }
  let gateways = 0
  return {
    folder,
    zone,
    database,
    upstream,
    environment: { ...environment, DATABASE_URL: url },
    cli: { CARACAL_API_URL: api.address.url, CARACAL_TOKEN: token },
    applications: Object.fromEntries(rows.map(({ id, name }) => [name, id])),
    api: (method, path, body) => ask(api.address.url, method, `/v1/zones/${zone}${path}`, body),
    async gateway(settings, own = streams) {
      gateways += 1
      const config = gatewayConfiguration.parse({ ...environment, SPOOL_DIR: join(folder, `gateway-${gateways}`), ...settings })
      const service = await started(startGateway(config, { streams: own }))
      return { ...service, tls: `https://localhost:${settings.GATEWAY_LISTEN?.split(':').at(-1)}` }
    },
    async event({ headers }, type) {
      for (let tries = 0; tries < 200; tries += 1) {
        const { body } = await ask(audit.address.url, 'GET', `/v1/zones/${zone}/events?request_id=${headers['x-request-id']}`)
        const events = ((body.items ?? []) as { event: string }[]).map(({ event }) => JSON.parse(event) as Event)
        const found = events.find((one) => one.type === type)
        if (found !== undefined) return found
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      throw new Error(`there is no ${type} of this request`)
    },
    async stop() {
      for (const service of services.reverse()) await service.stop()
      await streams.close()
      await database.close()
      await upstream.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** One request by curl; `args` as on its command line. */
export function curl(url: string, args: readonly string[] = []): Promise<Answer> {
  return new Promise((resolve) => {
    execFile('curl', ['-sS', '-i', '--max-time', '20', ...args, url], { encoding: 'utf8' }, (error, stdout, stderr) => {
      const [head = '', ...rest] = stdout.split('\r\n\r\n')
      const [line = '', ...fields] = head.split('\r\n')
      const headers = Object.fromEntries(
        fields.map((one) => [one.slice(0, one.indexOf(':')).toLowerCase(), one.slice(one.indexOf(':') + 2)]),
      )
      const text = rest.join('\r\n\r\n')
      const code = text.startsWith('{') ? (JSON.parse(text) as { code?: string }).code : undefined
      resolve({ status: Number(line.split(' ')[1] ?? 0), headers, text, code, failed: error === null ? undefined : stderr.trim() })
    })
  })
}

/** Headers that make a request one of its kind. `at`: Unix seconds. */
export function fresh(nonce = randomBytes(16).toString('hex'), at = Math.floor(Date.now() / 1000)): string[] {
  return ['-H', `X-Caracal-Nonce: ${nonce}`, '-H', `X-Caracal-Timestamp: ${at}`]
}
