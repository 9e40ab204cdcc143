import { spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '@caracal/harness'
import { type Bench, ms, type Timed, timed } from '../bench.ts'
import { absolute, type Figure, median, relative } from '../figure.ts'
import type { Installation } from '../installation.ts'
import { untilSettled } from '../ledger.ts'
import { started, untilListens } from '../server.ts'

const CONNECTIONS = 64
/** Share of its own rate at which latency is looked at. */
const LOAD = 0.3
const MODERN = '2026-07-28'
const WITH_SESSIONS = '2025-11-25'
const BOTH = 'application/json, text/event-stream'
/** How much of the direct rate is demanded. */
const LEAST = 0.4

/** A resource for each way in which the same server is spoken to. */
const WAYS = ['stateless', 'session'] as const
type Way = (typeof WAYS)[number]
const PATHS = { stateless: '/mcp', session: '/session' } as const satisfies Readonly<Record<Way, string>>
const resourceOf = (way: Way) => `https://${way}.bench.internal/`

const documents = (origin: string) =>
  WAYS.map(
    (way) => `kind: Resource
zone: bench
name: ${way}
type: mcp
identifier: ${resourceOf(way)}
upstream: ${origin}${PATHS[way]}
egressAllow: [127.0.0.1/32]
scopes: ["tools:use"]
operations:
  - { method: tools/call, path: echo, scope: "tools:use" }
---
`,
  ).join('') +
  `kind: Policy
zone: bench
name: tools
rules:
  - id: tools
    allow: ["tools:use"]
    on: ["https://stateless.bench.internal/", "https://session.bench.internal/"]
    for: { labels: [agents] }
`

/** The calls of one way, and where they go on either side. */
type Side = { readonly url: string; readonly headers: Readonly<Record<string, string>>; readonly body: string }
type Runs = { readonly direct: Timed[]; readonly governed: Timed[]; readonly near: Timed[]; readonly far: Timed[] }

/**
 * MCP `tools/call` through the adapter, next to calling the same server directly: with the revision that has no sessions, and with the one
 * before it in a session.
 */
export async function mcp(bench: Bench): Promise<Figure[]> {
  const { installation, seconds, turns, warm } = bench
  const sides = await start(bench)
  const figures: Figure[] = []
  for (const way of WAYS) {
    const { direct, governed } = sides[way]
    const load = ({ url, headers, body }: Side, duration = seconds) =>
      timed(installation, { script: 'post', connections: CONNECTIONS, url, headers, seconds: duration, settings: { body } })
    const paced = ({ url, headers, body }: Side, rate: number) =>
      timed(installation, { script: 'post-paced', connections: CONNECTIONS, url, headers, seconds, settings: { body, rate } })
    await load(direct, warm)
    await load(governed, warm)
    const runs: Runs = { direct: [], governed: [], near: [], far: [] }
    for (let turn = 0; turn < turns; turn += 1) {
      runs.direct.push(await load(direct))
      runs.governed.push(await load(governed))
      await untilSettled(installation, bench.zone)
    }
    const rate = Math.max(1, Math.floor(median(runs.governed.map((run) => run.perSecond)) * LOAD))
    for (let turn = 0; turn < turns; turn += 1) {
      runs.near.push(await paced(direct, rate))
      runs.far.push(await paced(governed, rate))
    }
    await untilSettled(installation, bench.zone)
    figures.push(...figuresOf(way, runs, rate))
  }
  return figures
}

const NAMES = { stateless: `MCP ${MODERN}`, session: `MCP ${WITH_SESSIONS}, in a session` } as const satisfies Readonly<Record<Way, string>>

function figuresOf(way: Way, { direct, governed, near, far }: Runs, rate: number): Figure[] {
  const errors = (runs: readonly Timed[]) => runs.reduce((sum, run) => sum + run.errors, 0)
  const of = (runs: readonly Timed[], which: 'perSecond' | 'p50' | 'p99') => median(runs.map((run) => run[which]))
  const share = (name: string, runs: readonly Timed[], least: number | null, note: string) =>
    relative(
      {
        name,
        value: of(runs, 'perSecond'),
        unit: 'calls/s',
        errors: errors(runs),
        cpu: runs[0]?.cpuPerRequest ?? {},
        more: { p50: ms(of(runs, 'p50')), p99: ms(of(runs, 'p99')) },
        note,
      },
      of(direct, 'perSecond'),
      least,
    )
  return [
    share(`${NAMES[way]}: tools/call, directly`, direct, null, 'one process on the official SDK; the baseline'),
    share(
      `${NAMES[way]}: tools/call through the adapter`,
      governed,
      LEAST,
      'arguments decided on, evidence on the disk before it goes out',
    ),
    absolute(
      {
        name: `${NAMES[way]}: added latency at 30 % load, p99`,
        value: ms(of(far, 'p99') - of(near, 'p99')),
        unit: 'ms',
        errors: errors([...near, ...far]),
        note: `adapter ${ms(of(far, 'p99'))} ms, directly ${ms(of(near, 'p99'))} ms, both at ${rate} calls/s; p50 ${ms(of(far, 'p50'))} and ${ms(of(near, 'p50'))} ms`,
        cpu: far[0]?.cpuPerRequest ?? {},
      },
      { most: 10 },
    ),
  ]
}

async function start({ installation, zone }: Bench): Promise<Readonly<Record<Way, { readonly direct: Side; readonly governed: Side }>>> {
  const port = await freePort()
  const child = spawn(process.execPath, [join(import.meta.dirname, '../mcp-server.ts'), String(port)], {
    env: { PATH: process.env.PATH, NODE_ENV: 'production' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const server = installation.watch(await untilListens(started(child, port, 'MCP server')))
  await describe(installation, server.url)
  const adapter = await installation.another('mcp-adapter', 'adapter', {
    MCP_SERVERS: WAYS.map((way) => `${way}=${server.url}${PATHS[way]}`).join(','),
  })
  const mandates = Object.fromEntries(
    await Promise.all(
      WAYS.map(async (way) => [way, await zone.mandate(undefined, { resource: resourceOf(way), scope: 'tools:use' })] as const),
    ),
  ) as Record<Way, string>
  const side = async (way: Way, url: string, headers: Readonly<Record<string, string>> = {}): Promise<Side> => {
    const common = { ...headers, 'content-type': 'application/json', accept: BOTH }
    const own: Record<string, string> =
      way === 'stateless' ? { 'mcp-method': 'tools/call', 'mcp-name': 'echo' } : { 'mcp-session-id': await begin(url, common) }
    const version = way === 'stateless' ? MODERN : WITH_SESSIONS
    return answering({ url, headers: { ...common, ...own, 'mcp-protocol-version': version }, body: JSON.stringify(call(way)) })
  }
  const sides = async (way: Way) => ({
    direct: await side(way, server.url + PATHS[way]),
    governed: await side(way, `${adapter.url}/mcp/${way}`, { authorization: `Bearer ${mandates[way]}` }),
  })
  return { stateless: await sides('stateless'), session: await sides('session') }
}

async function describe(installation: Installation, origin: string): Promise<void> {
  const where = join(installation.folder, 'mcp')
  mkdirSync(where)
  writeFileSync(join(where, 'mcp.yaml'), documents(origin))
  const applied = await installation.caracal(['apply', '-f', where])
  if (applied.code !== 0) throw new Error(applied.stderr)
}

function call(way: Way): unknown {
  const envelope = {
    'io.modelcontextprotocol/protocolVersion': MODERN,
    'io.modelcontextprotocol/clientCapabilities': {},
    'io.modelcontextprotocol/clientInfo': { name: 'bench', version: '1' },
  }
  const params = { name: 'echo', arguments: { message: 'x'.repeat(256) }, ...(way === 'stateless' ? { _meta: envelope } : {}) }
  return { jsonrpc: '2.0', id: 1, method: 'tools/call', params }
}

/** The handshake of the revisions with sessions; the id of the session as this side knows it. */
async function begin(url: string, headers: Readonly<Record<string, string>>): Promise<string> {
  const params = { protocolVersion: WITH_SESSIONS, capabilities: {}, clientInfo: { name: 'bench', version: '1' } }
  const answer = await fetch(url, {
    method: 'POST',
    headers,
    body: JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params }),
  })
  const session = answer.headers.get('mcp-session-id')
  if (session === null) throw new Error(`no session at ${url}: ${answer.status} ${await answer.text()}`)
  const told = await fetch(url, {
    method: 'POST',
    headers: { ...headers, 'mcp-session-id': session, 'mcp-protocol-version': WITH_SESSIONS },
    body: JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' }),
  })
  if (!told.ok) throw new Error(`${url}: ${told.status} ${await told.text()}`)
  return session
}

/** The side, once one call came back with the tool's own answer: an error of the protocol would be a 200 as well. */
async function answering(side: Side): Promise<Side> {
  const answer = await fetch(side.url, { method: 'POST', headers: side.headers, body: side.body })
  const text = await answer.text()
  if (!answer.ok || !text.includes('"content"') || text.includes('"error"')) throw new Error(`${side.url}: ${answer.status} ${text}`)
  return side
}
