import { execFileSync, spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { inFolder, place, repository } from './place.ts'

/**
 * `nsenter` and not `ip netns exec`: that mounts /sys anew and hides the cgroups from the kubelet.
 */
export const inNetwork = (command: readonly string[]): readonly string[] => [
  'nsenter',
  `--net=/run/netns/${place.networkNamespace}`,
  ...command,
]

const built = new Map<string, string>()

/** The path of a tool that `infra/tools/build.sh` builds, at once when it is there. */
export function tool(name: string): string {
  const known = built.get(name)
  if (known !== undefined) return known
  const path = execFileSync(`${repository}/infra/tools/build.sh`, [name], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  }).trim()
  built.set(name, path)
  return path
}

const pidFile = (name: string): string => inFolder('pids', name)

/** Starts a program of the node that outlives this process; its output is `log/<name>.log`. One that already runs stays. */
export function startProcess(name: string, command: readonly string[], options: { uid?: number; gid?: number; cwd?: string } = {}): void {
  if (running(name)) return
  mkdirSync(inFolder('log'), { recursive: true })
  mkdirSync(inFolder('pids'), { recursive: true })
  const log = openSync(inFolder('log', `${name}.log`), 'a')
  const as = options.uid === undefined ? [] : ['setpriv', `--reuid=${options.uid}`, `--regid=${options.gid}`, '--clear-groups']
  const [program, ...args] = inNetwork([...as, ...command])
  if (program === undefined) throw new Error('no command')
  const child = spawn(program, args, { detached: true, stdio: ['ignore', log, log], cwd: options.cwd ?? place.folder })
  closeSync(log)
  child.unref()
  if (child.pid === undefined) throw new Error(`${name} did not start`)
  writeFileSync(pidFile(name), `${child.pid} ${startTime(child.pid)}`)
}

/** A number is given again: a process is the one that was started only if it began when that began. */
const startTime = (pid: number): string =>
  readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ')[19] ?? ''

export function recordedPid(name: string): number | undefined {
  if (!existsSync(pidFile(name))) return undefined
  const [pid, began] = readFileSync(pidFile(name), 'utf8').split(' ')
  try {
    return startTime(Number(pid)) === began ? Number(pid) : undefined
  } catch {
    return undefined // gone
  }
}

export const running = (name: string): boolean => recordedPid(name) !== undefined

/** Ends what `startProcess` started and waits for it; after ten seconds it is killed. */
export async function stopProcess(name: string, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  const pid = recordedPid(name)
  if (pid !== undefined) {
    process.kill(pid, signal)
    for (let tries = 0; running(name); tries++) {
      if (tries === 100) process.kill(pid, 'SIGKILL')
      await sleep(100)
    }
  }
  rmSync(pidFile(name), { force: true })
}

export function startedProcesses(): readonly string[] {
  return existsSync(inFolder('pids')) ? readdirSync(inFolder('pids')) : []
}

/** Runs a command in the cluster's network and returns what it wrote; a failure carries both outputs. */
export function run(command: readonly string[], options: { input?: string; timeoutSeconds?: number } = {}): string {
  const [program, ...args] = inNetwork(command)
  if (program === undefined) throw new Error('no command')
  try {
    return execFileSync(program, args, {
      encoding: 'utf8',
      input: options.input ?? '',
      timeout: (options.timeoutSeconds ?? 120) * 1000,
      maxBuffer: 64 * 1024 * 1024,
      cwd: repository,
      stdio: 'pipe',
      env: environment(),
    })
  } catch (error) {
    if (error instanceof Error && 'stderr' in error && 'stdout' in error) {
      throw new Error(`${command.join(' ').slice(0, 400)}\n${error.stdout}\n${error.stderr}`, { cause: error.message })
    }
    throw error
  }
}

/** Clients find the cluster, and nothing of the person who runs the tests. */
export const environment = (): NodeJS.ProcessEnv => ({
  PATH: process.env.PATH,
  HOME: inFolder('home'),
  KUBECONFIG: inFolder('admin.conf'),
  LANG: 'C.UTF-8',
})

/** Waits until `what` holds; what failed last is the reason in the error. */
export async function until(description: string, seconds: number, what: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + seconds * 1000
  let last: unknown
  for (;;) {
    try {
      if (await what()) return
    } catch (error) {
      last = error
    }
    if (Date.now() > deadline) throw new Error(`after ${seconds} s still not: ${description}`, { cause: last })
    await sleep(250)
  }
}
