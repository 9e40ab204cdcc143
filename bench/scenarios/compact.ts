import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '@caracal/harness'
import { caracal } from '../../tests/e2e/installation.ts'
import { ms, type Timed, timed } from '../bench.ts'
import { absolute, type Figure, median, relative } from '../figure.ts'
import { startUpstream } from '../haproxy.ts'
import { untilReady } from '../installation.ts'
import { processorTime } from '../processor-time.ts'
import { type Server, started, untilListens } from '../server.ts'
import { startBareProxy } from '../start-bare-proxy.ts'
import { startStores } from '../stores.ts'
import { CALL_PATH, documents } from '../zone.ts'

const MAIN = join(import.meta.dirname, '../../apps/cli/src/main.ts')
const CONNECTIONS = 64
const FREE_PATH = CALL_PATH
const PRICED_PATH = '/r/items/priced/17'
/** Share of its own rate at which latency is looked at. */
const LOAD = 0.3

type Profile = { readonly seconds: number; readonly turns: number; readonly warm: number }

const OPERATIONS = [
  '{ method: GET, path: "/items/{id}", scope: "items:read" }',
  '{ method: GET, path: "/priced/{id}", scope: "items:read", price: { amount: "0.0001", currency: EUR } }',
]
const BUDGET = `---
kind: Budget
zone: bench
name: agent
holder: agent
limit: { amount: "1000000", currency: EUR }
per: month
`

/**
 * The compact deployment: one process of all roles on Postgres alone, callers with API keys and nonces, evidence written through, beside
 * a bare undici proxy in front of the same upstream. Policy and a budget are in force; the second figure pays for every call.
 */
export async function compact({ seconds, turns, warm }: Profile): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'caracal-bench-compact-'))
  const stores = await startStores()
  const watched = [...stores.watched]
  const servers: Server[] = []
  const watch = (server: Server): Server => {
    watched.push({ name: server.name, pid: server.pid })
    servers.push(server)
    return server
  }
  try {
    const upstream = watch(await startUpstream(folder))
    const bench = { upstream, watch, time: () => processorTime(watched) }
    const { gateway, key } = await startCompact(folder, stores.postgres.url, upstream, watch)
    const bare = await startBareProxy(bench)
    const load = { connections: CONNECTIONS, headers: { 'x-api-key': key }, seconds } as const
    const steady = (url: string, duration = seconds) => timed(bench, { ...load, script: 'api-key', url, seconds: duration })
    const paced = (url: string, rate: number) => timed(bench, { ...load, script: 'api-key-paced', url, settings: { rate } })

    for (const path of [FREE_PATH, PRICED_PATH]) await steady(gateway.url + path, warm)
    await steady(bare.url + FREE_PATH, warm)
    const runs = { bare: [] as Timed[], free: [] as Timed[], priced: [] as Timed[], near: [] as Timed[], far: [] as Timed[] }
    for (let turn = 0; turn < turns; turn += 1) {
      runs.bare.push(await steady(bare.url + FREE_PATH))
      runs.free.push(await steady(gateway.url + FREE_PATH))
      runs.priced.push(await steady(gateway.url + PRICED_PATH))
    }
    const rate = Math.max(1, Math.floor(perSecond(runs.free) * LOAD))
    for (let turn = 0; turn < turns; turn += 1) {
      runs.near.push(await paced(bare.url + FREE_PATH, rate))
      runs.far.push(await paced(gateway.url + FREE_PATH, rate))
    }
    return figuresOf(runs, turns, rate)
  } catch (error) {
    const said = servers.map((server) => `${server.name}: ${server.said()}`).join('\n')
    throw new Error(`${error instanceof Error ? error.message : String(error)}\n${said}`, { cause: error })
  } finally {
    await Promise.all(servers.map((server) => server.stop()))
    await stores.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

const perSecond = (runs: readonly Timed[]) => median(runs.map((run) => run.perSecond))

function figuresOf(
  runs: Readonly<Record<'bare' | 'free' | 'priced' | 'near' | 'far', readonly Timed[]>>,
  turns: number,
  rate: number,
): Figure[] {
  const errors = (which: readonly Timed[]) => which.reduce((sum, run) => sum + run.errors, 0)
  const share = (name: string, which: readonly Timed[], least: number | null, note: string) =>
    relative(
      {
        name,
        value: perSecond(which),
        unit: 'calls/s',
        errors: errors(which),
        cpu: which[0]?.cpuPerRequest ?? {},
        more: { p50: ms(median(which.map((run) => run.p50))), p99: ms(median(which.map((run) => run.p99))) },
        note,
      },
      perSecond(runs.bare),
      least,
    )
  const added = median(runs.far.map((run) => run.p99)) - median(runs.near.map((run) => run.p99))
  return [
    share('bare undici proxy, as the compact deployment is called', runs.bare, null, 'the baseline of this run'),
    share(
      'compact, api_key: governed calls',
      runs.free,
      0.35,
      `nonce claimed and evidence committed in Postgres; median of ${turns} turns`,
    ),
    share(
      'compact, api_key: the same, each call paid from a budget of money',
      runs.priced,
      0.2,
      'reserved before it goes out, settled after',
    ),
    absolute(
      {
        name: 'compact: added latency at 30 % load, p99',
        value: ms(added),
        unit: 'ms',
        errors: errors([...runs.near, ...runs.far]),
        note: `both at ${rate} calls/s; medians of ${turns} turns`,
      },
      { most: 10 },
    ),
  ]
}

/** One process with every role, and a caller's API key. */
async function startCompact(
  folder: string,
  postgres: string,
  upstream: Server,
  watch: (server: Server) => Server,
): Promise<{ readonly gateway: Server; readonly key: string }> {
  const [port, api, sts, audit, coordinator, metrics] = await Promise.all([1, 2, 3, 4, 5, 6].map(() => freePort()))
  const { port: databasePort, username, pathname } = new URL(postgres)
  const token = `cat_${randomBytes(32).toString('base64url')}`
  const child = spawn(process.execPath, [MAIN, 'serve', 'gateway', '--with', 'api,sts,audit,coordinator', '--migrate'], {
    env: {
      PATH: process.env.PATH,
      NODE_ENV: 'production',
      CARACAL_MODE: 'rc',
      LOG_LEVEL: 'warn',
      DB_HOST: 'localhost',
      DB_PORT: databasePort,
      DB_USER: username,
      DB_NAME: pathname.slice(1),
      DB_PASSWORD: randomBytes(24).toString('base64'),
      DB_SSLMODE: 'disable',
      GATEWAY_LISTEN: `127.0.0.1:${port}`,
      METRICS_PORT: String(metrics),
      API_PORT: String(api),
      STS_PORT: String(sts),
      AUDIT_PORT: String(audit),
      COORDINATOR_PORT: String(coordinator),
      ADMIN_TOKEN: token,
      AUTH_MODE: 'api_key',
      EVIDENCE: 'write-through',
      APPLICATION_RATE: '0',
      // As the manifests have it.
      NODE_OPTIONS: '--v8-pool-size=1',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const gateway = await untilListens(watch(started(child, port ?? 0, 'compact')))
  await untilReady(gateway.url)
  const here = { CARACAL_API_URL: `http://127.0.0.1:${api}`, CARACAL_TOKEN: token, ITEMS_KEY: 'items-key-0123456789abcdef' }
  const file = join(folder, 'bench.yaml')
  writeFileSync(file, documents(upstream.port, ['agent'], OPERATIONS) + BUDGET)
  const run = async (args: readonly string[]) => {
    const ran = await caracal(args, here)
    if (ran.code !== 0) throw new Error(`caracal ${args.join(' ')}: ${ran.stderr}${ran.stdout}`)
    return ran.stdout
  }
  await run(['apply', '-f', file])
  const made = JSON.parse(await run(['--json', 'credential', 'create', 'agent', '--zone', 'bench', '--api-key', 'bench'])) as {
    api_key: string
  }
  const headers = {
    'x-api-key': made.api_key,
    'x-caracal-nonce': randomBytes(16).toString('hex'),
    'x-caracal-timestamp': String(Math.floor(Date.now() / 1_000)),
  }
  const answer = await fetch(gateway.url + PRICED_PATH, { headers })
  if (!answer.ok) throw new Error(`the first call: ${answer.status} ${await answer.text()}`)
  return { gateway, key: made.api_key }
}
