import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, request } from 'undici'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startUpstream, type Upstream } from '../e2e/lab.ts'
import { expectNothingLost } from './ledger.ts'
import { RESOURCE, type Stage, startStage } from './stage.ts'
import { metricOf } from './standing.ts'

const QUIET = 'https://quiet.example/'
/** Clients of the zone that floods: each sends its next call as soon as the last one is answered. */
const FLOOD = 120

let stage: Stage
let quiet: { readonly upstream: Upstream; readonly basic: string }
const agent = new Agent({ connections: FLOOD + 10, pipelining: 1 })

const documents = (port: number) => `
kind: Zone
name: quiet
---
kind: Application
zone: quiet
name: agent
labels: [agents]
---
kind: Resource
zone: quiet
name: quiet
identifier: ${QUIET}
upstream: http://127.0.0.1:${port}
egressAllow: [127.0.0.1/32]
scopes: ["quiet:read"]
---
kind: Policy
zone: quiet
name: quiet
rules:
  - id: use
    allow: ["quiet:*"]
    on: ["${QUIET}"]
    for: { labels: [agents] }
`

beforeAll(async () => {
  // A short patience, so that a test machine gets there: what is shown is who is refused, not when.
  stage = await startStage({ environment: { MAX_QUEUE_DELAY: '20ms', APPLICATION_RATE: '0' } })
  const upstream = await startUpstream()
  const folder = mkdtempSync(join(tmpdir(), 'caracal-quiet-'))
  writeFileSync(join(folder, 'quiet.yaml'), documents(upstream.port))
  const applied = await stage.services.caracal(['apply', '-f', folder])
  rmSync(folder, { recursive: true })
  if (applied.code !== 0) throw new Error(applied.stderr)
  const made = await stage.services.caracal(['--json', 'credential', 'create', 'agent', '--zone', 'quiet'])
  const { client_id, client_secret } = JSON.parse(made.stdout) as { client_id: string; client_secret: string }
  quiet = { upstream, basic: `Basic ${Buffer.from(`${client_id}:${client_secret}`).toString('base64')}` }
}, 180_000)
afterAll(async () => {
  await agent.close()
  await stage?.stop()
  await quiet?.upstream.stop()
})

async function mint(basic: string, resource: string): Promise<string> {
  const answer = await fetch(`${stage.services.urls.sts}/oauth/2/token`, {
    method: 'POST',
    headers: { authorization: basic },
    body: new URLSearchParams({ grant_type: 'client_credentials', resource, ttl: '600' }),
  })
  const body = (await answer.json()) as { access_token?: string }
  if (body.access_token === undefined) throw new Error(JSON.stringify(body))
  return body.access_token
}

type Answer = { readonly outcome: string; readonly retryAfter: string | undefined }

async function call(path: string, token: string): Promise<Answer> {
  const { statusCode, headers, body } = await request(`${stage.services.urls.gateway}${path}`, {
    headers: { authorization: `Bearer ${token}` },
    dispatcher: agent,
  })
  const text = await body.text()
  const outcome = statusCode === 200 ? '200' : (JSON.parse(text) as { code: string }).code
  return { outcome, retryAfter: headers['retry-after'] as string | undefined }
}

describe('[P-169] more than a Gateway can carry', () => {
  test('one zone floods: it is refused with 503 and Retry-After before its calls wait, the other is answered every time, and no evidence is missing', async () => {
    const [loud, calm] = await Promise.all([mint(stage.basic, RESOURCE), mint(quiet.basic, QUIET)])
    expect((await call('/r/chaos/items/first', loud)).outcome).toBe('200')
    expect((await call('/r/quiet/first', calm)).outcome).toBe('200')

    const flood: Answer[] = []
    const stopping = new AbortController()
    let made = 0
    const client = async () => {
      while (!stopping.signal.aborted) {
        made += 1
        flood.push(await call(`/r/chaos/items/flood-${made}`, loud))
      }
    }
    const clients = Array.from({ length: FLOOD }, client)
    await expect.poll(() => flood.filter(({ outcome }) => outcome === 'overloaded').length).toBeGreaterThan(100)

    const beside: Answer[] = []
    for (let at = 0; at < 25; at += 1) {
      beside.push(await call(`/r/quiet/${at}`, calm))
      await sleep(50)
    }
    stopping.abort()
    await Promise.all(clients)

    expect(beside.filter(({ outcome }) => outcome !== '200')).toEqual([])
    const refused = flood.filter(({ outcome }) => outcome !== '200')
    expect(new Set(refused.map(({ outcome }) => outcome))).toEqual(new Set(['overloaded']))
    expect(new Set(refused.map(({ retryAfter }) => retryAfter))).toEqual(new Set(['1']))
    expect(flood.length - refused.length, 'it is bounded, not shut out').toBeGreaterThan(100)
    const text = await (await fetch(`${stage.services.service('gateway').metrics}/metrics`)).text()
    const counted = Number(/^caracal_load_shed_total\{reason="overloaded"\} (\d+)$/m.exec(text)?.[1])
    expect(counted).toBe(refused.length)
    await expect.poll(() => metricOf(stage.services.service('gateway'), 'caracal_spool_records')).toBe(0)
    await expectNothingLost(stage)
  })
})
