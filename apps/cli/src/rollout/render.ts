import { readFileSync } from 'node:fs'
import { parseAllDocuments } from 'yaml'
import { CliError } from '../cli-error.ts'
import type { HelmRevision } from './helm-release.ts'
import { at, type Kubectl, type KubeObject, nameOf, runProgram, textAt } from './kubectl.ts'
import { demandedKeys, renderDifferences } from './render-gate.ts'
import { type Row, row } from './row.ts'

export type RenderOptions = {
  readonly chart?: string
  readonly values: readonly string[]
  readonly set: readonly string[]
  /** What `helm template` printed. */
  readonly render?: string
}

/** The objects of a manifest in YAML. */
export function objectsOf(manifest: string): readonly KubeObject[] {
  return parseAllDocuments(manifest).flatMap((document) => {
    const found: unknown = document.toJS()
    return typeof found === 'object' && found !== null ? [found as KubeObject] : []
  })
}

/** Gates on what is going to be applied: it agrees with what the processes take, and Helm renders it. */
export async function renderGates(
  options: RenderOptions,
  place: { readonly release: string; readonly namespace: string; readonly env: NodeJS.ProcessEnv },
  cluster: Kubectl,
  live: HelmRevision | undefined,
): Promise<Row[]> {
  const { manifest, gate } = await rendered(options, place)
  if (manifest === undefined) return [row('G1', 'Source verification', 'unknown', 'nothing was rendered to compare'), gate]
  const objects = objectsOf(manifest)
  const differences = [...renderDifferences(objects), ...(await missingKeys(cluster, objects))]
  const words = differences.slice(0, 10).join('; ') + (differences.length > 10 ? `; and ${differences.length - 10} more` : '')
  const source = row(
    'G1',
    'Source verification',
    differences.length > 0 ? 'stop' : 'go',
    words || 'arguments, ports, settings and keys agree',
  )
  const changes = live === undefined ? 'first install' : changesOf(objectsOf(live.manifest), objects)
  return [source, gate.state === 'go' ? { ...gate, evidence: `${gate.evidence}; ${changes}` } : gate]
}

async function rendered(
  options: RenderOptions,
  { release, namespace, env }: { readonly release: string; readonly namespace: string; readonly env: NodeJS.ProcessEnv },
): Promise<{ readonly manifest: string | undefined; readonly gate: Row }> {
  const name = 'Render validation'
  if (options.render !== undefined) {
    try {
      return { manifest: readFileSync(options.render, 'utf8'), gate: row('G2', name, 'go', `${options.render} was rendered before`) }
    } catch {
      throw new CliError(`The render ${options.render} cannot be read.`, undefined, { exitCode: 2 })
    }
  }
  if (options.chart === undefined)
    return {
      manifest: undefined,
      gate: row('G2', name, 'unknown', 'say with --chart and --values what is going to be installed, or with --render'),
    }
  const given = [...options.values.flatMap((file) => ['--values', file]), ...options.set.flatMap((one) => ['--set', one])]
  const helm = env.HELM ?? 'helm'
  const lint = await runProgram(helm, ['lint', options.chart, ...given], env)
  if (lint.code !== 0) return { manifest: undefined, gate: row('G2', name, 'stop', `helm lint: ${lastLine(lint.stdout + lint.stderr)}`) }
  const template = await runProgram(helm, ['template', release, options.chart, '--namespace', namespace, ...given], env)
  if (template.code !== 0) return { manifest: undefined, gate: row('G2', name, 'stop', `helm template: ${lastLine(template.stderr)}`) }
  return { manifest: template.stdout, gate: row('G2', name, 'go', 'helm lint and helm template succeed') }
}

/** Keys that the rendered pods demand and the live Secret lacks; names only. */
async function missingKeys(cluster: Kubectl, objects: readonly KubeObject[]): Promise<string[]> {
  const rendersSecret = new Set(objects.filter((one) => textAt(one, 'kind') === 'Secret').map(nameOf))
  const found = await Promise.all(
    [...demandedKeys(objects)]
      .filter(([secret]) => !rendersSecret.has(secret))
      .map(async ([secret, keys]) => {
        const live = await cluster.get('secret', secret)
        if (live === undefined) return [`the Secret ${secret} does not exist`]
        const present = new Set(Object.keys((at(live, 'data') ?? {}) as object))
        return keys.filter((key) => !present.has(key)).map((key) => `the Secret ${secret} lacks ${key}`)
      }),
  )
  return found.flat()
}

/** Which objects come, go or change, by name; hooks are not kept with a revision. */
export function changesOf(before: readonly KubeObject[], after: readonly KubeObject[]): string {
  const key = (one: KubeObject) => `${textAt(one, 'kind')} ${nameOf(one)}`
  const ours = (one: KubeObject) => textAt(one, 'metadata', 'annotations', 'helm.sh/hook') === ''
  const old = new Map(before.filter(ours).map((one) => [key(one), JSON.stringify(one)]))
  const fresh = new Map(after.filter(ours).map((one) => [key(one), JSON.stringify(one)]))
  const parts = [
    { what: 'new', names: [...fresh.keys()].filter((name) => !old.has(name)) },
    { what: 'changed', names: [...fresh].filter(([name, text]) => old.has(name) && old.get(name) !== text).map(([name]) => name) },
    { what: 'gone', names: [...old.keys()].filter((name) => !fresh.has(name)) },
  ].filter(({ names }) => names.length > 0)
  return parts.length === 0 ? 'nothing changes' : parts.map(({ what, names }) => `${what}: ${names.join(', ')}`).join('; ')
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? ''
}
