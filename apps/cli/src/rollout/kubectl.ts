import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { CliError } from '../cli-error.ts'

/** An object of the cluster, as `kubectl -o json` prints it. */
export type KubeObject = { readonly [member: string]: unknown }

export type Forward = { readonly url: string; stop(): void }

/** What the operator may see of one namespace, with his own rights. */
export type Kubectl = {
  /** Objects by label selector; empty when the kind is not known to this cluster. */
  list(kind: string, selector?: string): Promise<readonly KubeObject[]>
  /** Undefined when it is not there. */
  get(kind: string, name: string): Promise<KubeObject | undefined>
  /** Server-side apply of one object. */
  apply(object: KubeObject): Promise<void>
  /** A port of a pod on loopback. */
  forward(pod: string, port: number): Promise<Forward>
}

const LIMIT_MS = 30_000
const NOT_THERE = /\(NotFound\)|not found|doesn't have a resource type|could not find the requested resource|no matches for kind/

/** Runs `kubectl` (or what KUBECTL names) with the environment's kubeconfig. */
export function kubectl(namespace: string, env: NodeJS.ProcessEnv): Kubectl {
  const program = env.KUBECTL ?? 'kubectl'
  const run = (args: readonly string[], input?: string) => runProgram(program, ['--namespace', namespace, ...args], env, input)

  const read = async (args: readonly string[]): Promise<KubeObject | undefined> => {
    const { code, stdout, stderr } = await run(['get', ...args, '--output', 'json'])
    if (code === 0) return JSON.parse(stdout) as KubeObject
    if (NOT_THERE.test(stderr)) return undefined
    throw new CliError(`kubectl get ${args.join(' ')}: ${firstLine(stderr)}`, 'Look at KUBECONFIG and at the rights of who runs this.')
  }
  return {
    async list(kind, selector) {
      const found = await read([kind, ...(selector === undefined ? [] : ['--selector', selector])])
      return (found?.items as readonly KubeObject[] | undefined) ?? []
    },
    get: (kind, name) => read([kind, name]),
    async apply(object) {
      const { code, stderr } = await run(
        ['apply', '--server-side', '--field-manager', 'caracal', '--force-conflicts', '-f', '-'],
        JSON.stringify(object),
      )
      if (code !== 0) throw new CliError(`kubectl apply: ${firstLine(stderr)}`, 'Look at the rights of who runs this.')
    },
    forward: (pod, port) => forward(program, ['--namespace', namespace, 'port-forward', `pod/${pod}`, `:${port}`], env),
  }
}

type Ran = { readonly code: number; readonly stdout: string; readonly stderr: string }

/** Runs a program to its end; an exit code is an answer, a program that is not there is told. */
export function runProgram(program: string, args: readonly string[], env: NodeJS.ProcessEnv, input?: string): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = execFile(program, [...args], { env, timeout: LIMIT_MS, maxBuffer: 256 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error === null) return resolve({ code: 0, stdout, stderr })
      if (typeof error.code === 'number') return resolve({ code: error.code, stdout, stderr })
      reject(
        new CliError(
          `${program} cannot be run: ${error.killed ? `no answer in ${LIMIT_MS / 1000} s` : error.message}`,
          `Install ${program}.`,
        ),
      )
    })
    child.stdin?.on('error', () => {}) // ended before it read everything: its exit code tells
    child.stdin?.end(input ?? '')
  })
}

function forward(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<Forward> {
  return new Promise((resolve, reject) => {
    const child: ChildProcess = spawn(program, [...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    const fail = (words: string) => {
      child.kill()
      reject(new Error(words))
    }
    const timer = setTimeout(() => fail('the port was not forwarded in time'), LIMIT_MS)
    let said = ''
    child.stderr?.on('data', (chunk) => {
      said += String(chunk)
    })
    child.stdout?.on('data', (chunk) => {
      const port = /Forwarding from 127\.0\.0\.1:(\d+)/.exec(String(chunk))?.[1]
      if (port === undefined) return
      clearTimeout(timer)
      resolve({ url: `http://127.0.0.1:${port}`, stop: () => void child.kill() })
    })
    child.once('error', (error) => fail(error.message))
    child.once('exit', () => {
      clearTimeout(timer)
      reject(new Error(firstLine(said) || 'the port was not forwarded'))
    })
  })
}

function firstLine(text: string): string {
  return text.trim().split('\n')[0] ?? ''
}

/** A member of an object that may not be there, by its path. */
export function at(object: unknown, ...path: readonly (string | number)[]): unknown {
  let found: unknown = object
  for (const step of path)
    found = typeof found === 'object' && found !== null ? (found as Record<string | number, unknown>)[step] : undefined
  return found
}

export function textAt(object: unknown, ...path: readonly (string | number)[]): string {
  const found = at(object, ...path)
  return typeof found === 'string' ? found : ''
}

export function numberAt(object: unknown, ...path: readonly (string | number)[]): number {
  const found = at(object, ...path)
  return typeof found === 'number' ? found : 0
}

export function listAt(object: unknown, ...path: readonly (string | number)[]): readonly KubeObject[] {
  const found = at(object, ...path)
  return Array.isArray(found) ? (found as KubeObject[]) : []
}

export const nameOf = (object: KubeObject): string => textAt(object, 'metadata', 'name')
