import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isTaken } from '@caracal/harness'

const ROOT = join(import.meta.dirname, '../..')
const MAIN = join(ROOT, 'apps/cli/src/main.ts')

export type Ran = { readonly code: number; readonly stdout: string; readonly stderr: string }

export type Installation = {
  readonly home: string
  readonly endpoints: Readonly<Record<'api' | 'sts' | 'gateway' | 'audit' | 'coordinator', string>>
  /** The MCP Adapter, with `--mcp`. */
  readonly mcp?: string | undefined
  /** Seconds from the start of the process to "ready", as it says itself. */
  readonly seconds: number
  /** Everything that the process printed so far. */
  output(): string
  /** Runs `caracal …` against it. */
  caracal(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Ran>
  /** Ends the process; resolves with its exit code when it is gone. */
  stop(signal?: NodeJS.Signals): Promise<number | null>
  /** Ends it and removes its folder. */
  remove(): Promise<void>
}

/** Runs the CLI of this checkout as a process of its own. Never rejects for a non-zero exit code. */
export function caracal(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [MAIN, ...args],
      { env: { ...cleanEnvironment(), ...env }, cwd: ROOT, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : 1, stdout, stderr })
      },
    )
  })
}

/** The environment of a person who has set nothing of ours. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(CARACAL_|DATABASE_URL|REDIS_URL|DB_|VITEST|NODE_OPTIONS)/.test(name))
  return { ...Object.fromEntries(kept), NO_COLOR: '1' }
}

/** Starts `caracal up` as a newcomer would, in a folder of its own and on ports of its own; resolves when it says that it is ready. */
export async function startInstallation(options: { home?: string; args?: readonly string[] } = {}): Promise<Installation> {
  const home = options.home ?? mkdtempSync(join(tmpdir(), 'caracal-home-'))
  const offset = await freeOffset()
  const child = spawn(process.execPath, [MAIN, '--json', 'up', '--port-offset', String(offset), ...(options.args ?? [])], {
    env: { ...cleanEnvironment(), CARACAL_HOME: home },
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const printed: string[] = []
  const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)))
  const ready = await readyLine(child, printed, exited)
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    child.kill(signal)
    return exited
  }
  return {
    home,
    endpoints: ready.endpoints,
    mcp: ready.mcp,
    seconds: ready.seconds,
    output: () => printed.join(''),
    caracal: (args, env = {}) => caracal(args, { CARACAL_HOME: home, ...env }),
    stop,
    remove: async () => {
      await stop()
      rmSync(home, { recursive: true, force: true })
    },
  }
}

type Ready = { readonly endpoints: Installation['endpoints']; readonly mcp?: string; readonly seconds: number }

function readyLine(child: ChildProcess, printed: string[], exited: Promise<number | null>): Promise<Ready> {
  return new Promise((resolve, reject) => {
    child.stderr?.on('data', (chunk) => printed.push(String(chunk)))
    let line = ''
    child.stdout?.on('data', (chunk) => {
      printed.push(String(chunk))
      line += String(chunk)
      const end = line.indexOf('\n')
      if (end !== -1 && line.startsWith('{')) resolve(JSON.parse(line.slice(0, end)) as Ready)
    })
    void exited.then((code) => reject(new Error(`caracal up ended with ${code}: ${printed.join('')}`)))
  })
}

/**
 * An offset whose ports are all free a moment before: whole tens, so that two installations never share one, and below
 * the ports that outgoing connections take.
 */
export async function freeOffset(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const offset = 10_000 + Math.floor(Math.random() * 1_200) * 10
    const ports = [3000, 8080, 8081, 9090, 4000, 8090, 9464, 9465, 9466, 9467, 9468].map((port) => port + offset)
    if ((await Promise.all(ports.map(isTaken))).every((taken) => !taken)) return offset
  }
  throw new Error('no free ports')
}
