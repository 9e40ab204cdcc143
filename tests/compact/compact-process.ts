import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '@caracal/harness'
import { caracal, type Ran } from '../e2e/installation.ts'

const MAIN = join(import.meta.dirname, '../../apps/cli/src/main.ts')

/** One process of several roles, as a pod of the compact deployment runs it. */
export type CompactProcess = {
  /** Of the role at the edge. */
  readonly url: string
  readonly metrics: string
  readonly urls: Readonly<Record<'api' | 'sts' | 'audit' | 'coordinator', string>>
  /** Resolves when `/ready` says so. */
  ready(): Promise<void>
  /** Status of a probe; 0 when nothing answers. */
  probe(path: string, at?: 'main' | 'metrics'): Promise<number>
  /** Ends it; resolves with its exit code when it is gone, null when a signal ended it. */
  end(signal?: NodeJS.Signals): Promise<number | null>
  runs(): boolean
  /** Everything that it printed. */
  said(): string
  /** Runs `caracal …` with the addresses of this process. */
  caracal(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Ran>
}

/** What `DB_*` say of a database of the harness, which lets everybody in. */
export function databaseSettings(url: string, password: string): Record<string, string> {
  const { hostname, port, pathname, username } = new URL(url)
  return { DB_HOST: hostname, DB_PORT: port, DB_NAME: pathname.slice(1), DB_USER: username, DB_PASSWORD: password }
}

/** Starts it on ports of its own; does not wait. */
export async function startCompactProcess(options: {
  readonly role?: 'gateway' | 'mcp-adapter'
  readonly beside?: string
  readonly migrate?: boolean
  /** METRICS_PORT names the port of the role at the edge. */
  readonly metricsOnMain?: boolean
  readonly environment: Readonly<Record<string, string>>
}): Promise<CompactProcess> {
  const { role = 'gateway', beside = 'api,sts,audit,coordinator', migrate = true, metricsOnMain = false } = options
  const [main, other, api, sts, audit, coordinator] = await Promise.all(Array.from({ length: 6 }, () => freePort()))
  const metrics = metricsOnMain ? main : other
  const listen = { [role === 'gateway' ? 'GATEWAY_LISTEN' : 'MCP_LISTEN']: `127.0.0.1:${main}` }
  const child = spawn(process.execPath, [MAIN, 'serve', role, '--with', beside, ...(migrate ? ['--migrate'] : [])], {
    env: {
      PATH: process.env.PATH,
      CARACAL_MODE: 'dev',
      LOG_LEVEL: 'warn',
      EVIDENCE: 'write-through',
      METRICS_PORT: String(metrics),
      API_PORT: String(api),
      STS_PORT: String(sts),
      AUDIT_PORT: String(audit),
      COORDINATOR_PORT: String(coordinator),
      ...listen,
      ...options.environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const said: string[] = []
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => said.push(String(chunk)))
  const at = (port: number | undefined) => `http://127.0.0.1:${port}`
  const urls = { api: at(api), sts: at(sts), audit: at(audit), coordinator: at(coordinator) }
  const url = at(main)
  const probe: CompactProcess['probe'] = (path, where = 'main') =>
    fetch(`${where === 'main' ? url : at(metrics)}${path}`, { signal: AbortSignal.timeout(5_000) }).then(
      ({ status }) => status,
      () => 0,
    )
  return {
    url,
    metrics: at(metrics),
    urls,
    probe,
    runs: () => runs(child),
    said: () => said.join(''),
    ready: async () => {
      const deadline = Date.now() + 120_000
      while ((await probe('/ready')) !== 200) {
        if (!runs(child) || Date.now() > deadline) throw new Error(`${role} does not become ready: ${said.slice(-30).join('')}`)
        await sleep(50)
      }
    },
    end: async (signal = 'SIGTERM') => {
      if (!runs(child)) return child.exitCode
      const gone = once(child, 'exit')
      child.kill('SIGCONT')
      child.kill(signal)
      const [code] = (await gone) as [number | null]
      return code
    },
    caracal: (args, env = {}) =>
      caracal(args, {
        ...Object.fromEntries(
          Object.entries({ ...urls, gateway: url }).map(([name, address]) => [`CARACAL_${name.toUpperCase()}_URL`, address]),
        ),
        ...env,
      }),
  }
}

function runs(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null
}
