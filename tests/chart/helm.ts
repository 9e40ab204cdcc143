import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { inject } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { textAt } from './tree.ts'

export const ROOT = join(import.meta.dirname, '..', '..')
export const CHART = join(ROOT, 'infra/helm/caracal')

export type HelmVersion = 'helm3' | 'helm4'

export type KubeObject = { readonly [field: string]: unknown; readonly apiVersion: string; readonly kind: string }

export type Asked = {
  /** Paths within the chart, in order. */
  readonly files?: readonly string[]
  /** Comes after the files. */
  readonly values?: Readonly<Record<string, unknown>>
  /** `--set` by key, comes last. */
  readonly set?: Readonly<Record<string, string>>
  readonly release?: string
  readonly helm?: HelmVersion
  /** More arguments of `helm template`. */
  readonly args?: readonly string[]
}

export type Output = { readonly code: number; readonly stdout: string; readonly stderr: string }

/** Runs a program to its end; a code other than 0 is an answer, not an error. */
export function run(program: string, args: readonly string[], input = ''): Promise<Output> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      args,
      { cwd: ROOT, maxBuffer: 1 << 28, env: { ...process.env, KUBECONFIG: '/dev/null' } },
      (error, stdout, stderr) => {
        if (error !== null && typeof error.code !== 'number') reject(error)
        else resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr })
      },
    )
    child.stdin?.end(input)
  })
}

/** `helm <command…>` with one of the two versions. */
export function helm(args: readonly string[], version: HelmVersion = 'helm4', input = ''): Promise<Output> {
  return run(inject(version), args, input)
}

/** Arguments that choose values; a map of values goes to standard input. */
export function valueArguments(asked: Asked): { readonly args: string[]; readonly input: string } {
  const args = (asked.files ?? []).flatMap((path) => {
    const file = join(CHART, path)
    if (!existsSync(file)) throw new Error(`the chart has no ${path}`)
    return ['--values', file]
  })
  if (asked.values !== undefined) args.push('--values', '-')
  for (const [key, value] of Object.entries(asked.set ?? {})) args.push('--set', `${key}=${value}`)
  return { args, input: asked.values === undefined ? '' : JSON.stringify(asked.values) }
}

/** `helm template`, as it ends. */
export function template(asked: Asked): Promise<Output> {
  const { args, input } = valueArguments(asked)
  return helm(['template', asked.release ?? 'caracal', CHART, '--namespace', 'caracal', ...args, ...(asked.args ?? [])], asked.helm, input)
}

const rendered = new Map<string, Promise<string>>()

/** What `helm template` prints; refused values are an error. The same question is asked once. */
export function renderedText(asked: Asked): Promise<string> {
  const key = JSON.stringify(asked)
  const before = rendered.get(key)
  if (before !== undefined) return before
  const text = template(asked).then(({ code, stdout, stderr }) => {
    if (code !== 0) throw new Error(`helm template ends with ${code}: ${stderr}`)
    return stdout
  })
  rendered.set(key, text)
  return text
}

/** The objects that a render holds. */
export async function render(asked: Asked): Promise<Objects> {
  return new Objects(objectsOf(await renderedText(asked)))
}

export function objectsOf(text: string): readonly KubeObject[] {
  return parseAllDocuments(text).flatMap((document) => {
    if (document.errors[0] !== undefined) throw document.errors[0]
    const value: unknown = document.toJS()
    return value === null ? [] : [asObject(value)]
  })
}

function asObject(value: unknown): KubeObject {
  if (textAt(value, 'kind') === '' || textAt(value, 'apiVersion') === '') throw new Error(`no Kubernetes object: ${JSON.stringify(value)}`)
  return value as KubeObject
}

/** What a render holds, found by kind and name. */
export class Objects {
  readonly all: readonly KubeObject[]

  constructor(all: readonly KubeObject[]) {
    this.all = all
  }

  ofKind(kind: string): readonly KubeObject[] {
    return this.all.filter((object) => object.kind === kind)
  }

  names(kind: string): readonly string[] {
    return this.ofKind(kind)
      .map((object) => textAt(object, 'metadata.name'))
      .toSorted()
  }

  /** `Kind/name` of everything, sorted. */
  list(): readonly string[] {
    return this.all.map((object) => `${object.kind}/${textAt(object, 'metadata.name')}`).toSorted()
  }

  has(kind: string, name: string): boolean {
    return this.names(kind).includes(name)
  }

  /** The one object of this name, or an error. */
  one(kind: string, name: string): KubeObject {
    const [found, ...more] = this.ofKind(kind).filter((object) => textAt(object, 'metadata.name') === name)
    if (found === undefined || more.length > 0) throw new Error(`${kind}/${name}: ${found === undefined ? 'none' : 'several'}`)
    return found
  }

  /** The Deployment or StatefulSet of a component of release `caracal`. */
  workload(component: string): KubeObject {
    const name = `caracal-${component}`
    return this.has('StatefulSet', name) ? this.one('StatefulSet', name) : this.one('Deployment', name)
  }

  /** Everything that holds a pod template, pods included, with the path of the pod's spec. */
  pods(): readonly { readonly owner: string; readonly metadata: unknown; readonly spec: unknown }[] {
    return this.all.flatMap((object) => {
      const path = POD_PATHS[object.kind]
      if (path === undefined) return []
      const owner = `${object.kind}/${textAt(object, 'metadata.name')}`
      let pod: unknown = object
      for (const step of path) pod = (pod as Record<string, unknown>)[step]
      return [{ owner, metadata: (pod as Record<string, unknown>).metadata, spec: (pod as Record<string, unknown>).spec }]
    })
  }
}

const POD_PATHS: Readonly<Record<string, readonly string[]>> = {
  Deployment: ['spec', 'template'],
  StatefulSet: ['spec', 'template'],
  Job: ['spec', 'template'],
  CronJob: ['spec', 'jobTemplate', 'spec', 'template'],
  Pod: [],
}
