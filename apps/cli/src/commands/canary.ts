import { randomBytes } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { leafHash, openCheckpoint, parseVerifierKey, verifyInclusion } from '@caracal/ledger'
import { request } from 'undici'
import { callService } from '../api-client.ts'
import { type CanaryUpstream, startCanaryUpstream } from '../canary-upstream.ts'
import { CliError } from '../cli-error.ts'
import type { Context } from '../context.ts'
import { colour } from '../output.ts'
import type { ApplyAnswer } from './apply.ts'
import type { LogKeys } from './audit.ts'
import type { CommandContext } from './command.ts'
import { createCredential } from './credential.ts'
import { findNamed, findZone, type Named } from './find.ts'
import { type ClientCredential, type MandateAnswer, mintMandate } from './mandate.ts'

export type CanaryStep = { readonly name: string; readonly ok: boolean; readonly ms: number; readonly detail: string }
export type CanaryOptions = {
  /** `host:port` of the canary's own upstream; default: this machine, any free port. */
  readonly listen?: string
  /** How the Gateway reaches it, when that is not the address it listens on. */
  readonly upstream?: string
}

export type CanaryReport = { readonly ok: boolean; readonly steps: readonly CanaryStep[] }

const ZONE = 'canary'
const RESOURCE = 'https://canary.example/'
/** A revocation must bite within this time, evidence must be in the ledger within the other. */
const REVOCATION_MS = 2_000
/** The Gateway must have learned of the resource, and every node of the Service in front of the canary's upstream. */
const FIRST_CALL_MS = 20_000
const EVIDENCE_MS = 10_000
/** Of the token that reads the evidence; it is revoked at the end in any case. */
const READER_LIFE_MS = 3_600_000

/**
 * Walks the whole path once against running services: set-up, token exchange, governed call, refusals that must be refused, the
 * evidence of both, an inclusion proof checked here with the log's public key, a revocation that must bite. The upstream is a
 * server of the canary's own, so that it sees for itself which credential arrived.
 */
export async function canary({ output, context, env }: CommandContext, options: CanaryOptions = {}): Promise<void> {
  const where = context()
  const apiKey = randomBytes(32).toString('hex')
  const upstream = await startCanaryUpstream({ ...listenAt(options.listen), apiKey })
  try {
    const url = (options.upstream ?? upstream.url).replace(/\/$/, '')
    const addresses = await addressesOf(url)
    const report = await walk({ where, upstream, url, addresses, apiKey, command: { output: silent, context, env } }, (step) => {
      if (!output.json) output.line(line(step))
    })
    if (output.json) output.line(JSON.stringify(report))
    if (!report.ok) throw new CliError('The canary failed.', 'The step that failed is the last one above.')
  } finally {
    await upstream.stop()
  }
}

function listenAt(text: string | undefined): { readonly host?: string; readonly port: number } {
  if (text === undefined) return { port: 0 }
  const found = /^(.+):(\d{1,5})$/.exec(text)
  if (found === null || Number(found[2]) > 65_535) throw new CliError(`--listen is host:port, not ${text}.`, undefined, { exitCode: 2 })
  return { host: found[1] ?? '', port: Number(found[2]) }
}

/** What the Gateway will connect to: private addresses must be allowed one by one. */
async function addressesOf(url: string): Promise<readonly string[]> {
  const host = URL.parse(url)?.hostname.replace(/^\[|\]$/g, '')
  if (host === undefined || host === '') throw new CliError(`--upstream is a URL, not ${url}.`, undefined, { exitCode: 2 })
  const found = await lookup(host, { all: true }).catch((error: Error) => {
    throw new CliError(`The host of --upstream has no address: ${error.message}`)
  })
  return found.map(({ address, family }) => `${address}/${family === 6 ? 128 : 32}`)
}

const silent = { json: false, line: () => {}, note: () => {} }

function line(step: CanaryStep): string {
  const mark = step.ok ? colour('green', 'ok  ') : colour('red', 'FAIL')
  return `${mark} ${step.name.padEnd(28)} ${`${step.ms} ms`.padStart(8)}  ${colour('dim', step.detail)}`
}

type Walk = {
  readonly where: Context
  readonly upstream: CanaryUpstream
  /** Of the upstream, as the Gateway calls it, and what that resolves to. */
  readonly url: string
  readonly addresses: readonly string[]
  readonly apiKey: string
  readonly command: CommandContext
}

/** Steps in order; the first that fails ends the walk, because what comes after stands on it. */
async function walk(on: Walk, onStep: (step: CanaryStep) => void): Promise<CanaryReport> {
  const steps: CanaryStep[] = []
  const step = async <T>(name: string, work: () => Promise<{ value: T; detail: string }>): Promise<T> => {
    const began = performance.now()
    const finish = (ok: boolean, detail: string) => {
      const done = { name, ok, ms: Math.round(performance.now() - began), detail }
      steps.push(done)
      onStep(done)
    }
    try {
      const { value, detail } = await work()
      finish(true, detail)
      return value
    } catch (error) {
      finish(false, error instanceof Error ? error.message : String(error))
      throw new StepFailed()
    }
  }
  try {
    const { zone, credential } = await step('set up', () => setUp(on))
    const mandate = await step('token exchange', () => exchange(on, credential))
    const callId = await step('governed call', () => governedCall(on, mandate))
    await step('refused operation', () => refusedOperation(on, mandate))
    await step('refused scope', () => refusedScope(on, credential))
    await asReader(on, zone, async (reader) => {
      const eventId = await step('audit evidence', () => evidence(reader, zone, mandate, callId))
      await step('inclusion proof', () => inclusion(reader, zone, eventId))
    })
    await step('revocation', () => revocation(on, zone, mandate))
    return { ok: true, steps }
  } catch (error) {
    if (!(error instanceof StepFailed)) throw error
    return { ok: false, steps }
  }
}

class StepFailed extends Error {}

/** Runs `work` with a token that may read the evidence of this zone and nothing else: the operator's own need not count at Audit. */
async function asReader(on: Walk, zone: Named, work: (reader: Walk) => Promise<void>): Promise<void> {
  const { where } = on
  const made = await callService<{ id: string; token: string }>(where.api, where.token, '/v1/tokens', {
    body: { name: `canary-${randomBytes(4).toString('hex')}`, roles: ['auditor'], zone: zone.id, expiresAt: Date.now() + READER_LIFE_MS },
  })
  try {
    await work({ ...on, where: { ...addressesIn(where), token: made.token } })
  } finally {
    await callService(where.api, where.token, `/v1/tokens/${made.id}`, { method: 'DELETE' })
  }
}

/** The context's members are read when they are needed; a copy has them all. */
function addressesIn({ api, sts, gateway, audit, coordinator }: Context): Omit<Context, 'token'> {
  return { api, sts, gateway, audit, coordinator }
}

const documents = (upstreamUrl: string, addresses: readonly string[]) => `
kind: Zone
name: ${ZONE}
---
kind: Application
zone: ${ZONE}
name: canary
labels: [canary]
---
kind: Provider
zone: ${ZONE}
name: canary-key
method: api_key
placement: { in: header, name: X-Api-Key }
hosts: ["${new URL(upstreamUrl).host}"]
secret: { fromEnv: CANARY_API_KEY }
---
kind: Resource
zone: ${ZONE}
name: canary
identifier: ${RESOURCE}
upstream: ${upstreamUrl}
provider: canary-key
egressAllow: ${JSON.stringify(addresses)}
scopes: ["notes:read", "notes:delete"]
operations:
  - { method: GET, path: "/notes/{id}", scope: "notes:read" }
  - { method: DELETE, path: "/notes/{id}", scope: "notes:delete" }
---
kind: Policy
zone: ${ZONE}
name: canary
rules:
  - id: read
    allow: ["notes:read"]
    on: ["${RESOURCE}"]
    for: { labels: [canary] }
`

async function setUp({
  where,
  url,
  addresses,
  apiKey,
  command,
}: Walk): Promise<{ value: { zone: Named; credential: ClientCredential }; detail: string }> {
  const answer = await callService<ApplyAnswer>(where.api, where.token, '/v1/apply', {
    body: {
      mode: 'apply',
      activate: true,
      documents: [{ file: 'canary', text: documents(url, addresses) }],
      secrets: { 'env:CANARY_API_KEY': apiKey },
    },
  })
  const zone = await findZone(where, ZONE)
  const application = await findNamed(where, zone, 'application', 'canary')
  await retireCredentials(where, zone, application)
  const credential = await createCredential(command, { application: application.id, zone: zone.id, quiet: true })
  return {
    value: { zone, credential },
    detail: `zone ${ZONE}, ${answer.steps.filter((done) => done.action !== 'unchanged').length} changes`,
  }
}

/** Earlier canaries' credentials: none of them is needed any more. */
async function retireCredentials(where: Context, zone: Named, application: Named): Promise<void> {
  const path = `/v1/zones/${zone.id}/applications/${application.id}/credentials`
  const { items } = await callService<{ items: { id: string }[] }>(where.api, where.token, path)
  for (const { id } of items) await callService(where.api, where.token, `${path}/${id}`, { method: 'DELETE' })
}

async function exchange({ where }: Walk, credential: ClientCredential): Promise<{ value: MandateAnswer; detail: string }> {
  const mandate = await mintMandate(where, credential, { resource: RESOURCE, scope: 'notes:read', ttl: '120' })
  if (mandate.mandate_id === undefined) throw new Error('the answer has no mandate_id')
  return { value: mandate, detail: `${mandate.mandate_id}, ${mandate.expires_in} s, ${mandate.scope}` }
}

type Called = { readonly status: number; readonly requestId: string; readonly code: string | undefined; readonly text: string }

async function call(where: Context, mandate: MandateAnswer, method: 'GET' | 'DELETE'): Promise<Called> {
  const answer = await request(`${where.gateway}/r/canary/notes/1`, {
    method,
    headers: { authorization: `Bearer ${mandate.access_token}` },
  })
  const text = await answer.body.text()
  let code: string | undefined
  try {
    code = (JSON.parse(text) as { code?: string }).code
  } catch {
    // Not JSON: then it is not a refusal of ours.
  }
  return { status: answer.statusCode, requestId: String(answer.headers['x-request-id'] ?? ''), code, text }
}

async function governedCall({ where, upstream, apiKey }: Walk, mandate: MandateAnswer): Promise<{ value: string; detail: string }> {
  const answer = await until(FIRST_CALL_MS, async () => {
    const found = await call(where, mandate, 'GET')
    return found.status === 200 ? found : { wait: `${found.status} ${found.code ?? found.text.slice(0, 100)}` }
  })
  const seen = upstream.seen.at(-1)
  if (seen?.apiKey !== apiKey) throw new Error('the upstream did not see the credential that the Gateway should inject')
  if (seen.authorization !== null) throw new Error('the upstream saw the mandate')
  return { value: answer.requestId, detail: `200, upstream saw its own key and no mandate, ${answer.requestId}` }
}

async function refusedOperation({ where, upstream }: Walk, mandate: MandateAnswer): Promise<{ value: undefined; detail: string }> {
  const before = upstream.seen.length
  const answer = await call(where, mandate, 'DELETE')
  if (answer.status !== 403 || answer.code !== 'insufficient_scope')
    throw new Error(`expected 403 insufficient_scope, got ${answer.status} ${answer.code}`)
  if (upstream.seen.length !== before) throw new Error('the refused call reached the upstream')
  return { value: undefined, detail: `403 ${answer.code}, the upstream saw nothing` }
}

async function refusedScope({ where }: Walk, credential: ClientCredential): Promise<{ value: undefined; detail: string }> {
  try {
    await mintMandate(where, credential, { resource: RESOURCE, scope: 'notes:delete' })
  } catch (error) {
    if (error instanceof CliError && error.message.startsWith('no_rule_allows')) return { value: undefined, detail: 'no_rule_allows' }
    throw error
  }
  throw new Error('a mandate for a scope that no rule allows was issued')
}

type FoundEvent = { readonly id: string; readonly type: string }

async function evidence({ where }: Walk, zone: Named, mandate: MandateAnswer, callId: string): Promise<{ value: string; detail: string }> {
  const find = async (query: Record<string, string>) =>
    (await callService<{ items: FoundEvent[] }>(where.audit, where.token, `/v1/zones/${zone.id}/events`, { query })).items
  return until<{ value: string; detail: string }>(EVIDENCE_MS, async () => {
    const issued = (await find({ jti: mandate.mandate_id ?? '', type: 'mandate.issued' }))[0]
    const allowed = (await find({ request_id: callId, type: 'call.allowed' }))[0]
    if (issued === undefined || allowed === undefined)
      return { wait: `the ledger lacks ${issued === undefined ? 'mandate.issued' : 'call.allowed'}` }
    return { value: allowed.id, detail: `mandate.issued ${issued.id}, call.allowed ${allowed.id}` }
  })
}

type EventProof = {
  readonly origin: string
  readonly index: number
  readonly size: number
  readonly checkpoint: string
  readonly hashes: readonly string[]
  readonly event: string
}

async function inclusion({ where }: Walk, zone: Named, eventId: string): Promise<{ value: undefined; detail: string }> {
  const keys = await callService<LogKeys>(where.audit, where.token, `/v1/zones/${zone.id}/log/keys`)
  const trusted = keys.vkeys.map(parseVerifierKey).filter((key) => key !== undefined)
  const proof = await until(EVIDENCE_MS, async () => {
    try {
      return await callService<EventProof>(where.audit, where.token, `/v1/zones/${zone.id}/events/${eventId}/proof`)
    } catch (error) {
      return { wait: error instanceof Error ? error.message : String(error) }
    }
  })
  const opened = openCheckpoint(
    proof.checkpoint,
    keys.origin,
    trusted.map((verifier) => ({ verifier })),
  )
  if (!opened.ok) throw new Error(`the checkpoint does not verify: ${opened.detail}`)
  const included = verifyInclusion({
    leaf: leafHash(Buffer.from(proof.event)),
    index: proof.index,
    size: opened.checkpoint.size,
    proof: proof.hashes.map((hash) => Buffer.from(hash, 'base64')),
    root: opened.checkpoint.root,
  })
  if (!included) throw new Error('the event is not in the tree that the checkpoint signs')
  return { value: undefined, detail: `event ${proof.index} of ${opened.checkpoint.size}, checkpoint signed by ${keys.origin}` }
}

async function revocation({ where }: Walk, zone: Named, mandate: MandateAnswer): Promise<{ value: undefined; detail: string }> {
  await callService(where.api, where.token, `/v1/zones/${zone.id}/revocations`, {
    body: { kind: 'mandate', id: mandate.mandate_id, reason: 'canary' },
  })
  const answered = performance.now()
  const refused = await until(REVOCATION_MS, async () => {
    const found = await call(where, mandate, 'GET')
    return found.status === 401 && found.code === 'token_revoked'
      ? found
      : { wait: `the mandate still gets ${found.status} ${found.code ?? ''}` }
  })
  return { value: undefined, detail: `401 ${refused.code}, ${Math.round(performance.now() - answered)} ms after the answer` }
}

/** Tries until there is a value or the time is over; then what was missing last is the error. */
async function until<T>(ms: number, attempt: () => Promise<T | { wait: string }>): Promise<T> {
  const deadline = performance.now() + ms
  for (;;) {
    const found = await attempt()
    if (typeof found !== 'object' || found === null || !('wait' in found)) return found
    if (performance.now() > deadline) throw new Error(`${found.wait} (after ${ms} ms)`)
    await sleep(25)
  }
}
