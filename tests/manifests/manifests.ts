import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'

export const FOLDER = join(import.meta.dirname, '../../infra/kubernetes')

/** What the document applies, in its order. */
export const CORE = [
  'namespace.yaml',
  'configmap.yaml',
  'secret.yaml',
  'postgres-statefulset.yaml',
  'gateway-deployment.yaml',
  'mcp-adapter-deployment.yaml',
] as const

/** What may be applied beside it. */
export const OPTIONAL = [
  'hpa.yaml',
  'pdb.yaml',
  'ingress.yaml',
  'nodeport/service.yaml',
  'networkpolicy.yaml',
  'servicemonitor.yaml',
  'prometheusrule.yaml',
  'backup-cronjob.yaml',
] as const

export type Manifest = {
  readonly file: string
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Readonly<Record<string, string>> }
  readonly [field: string]: unknown
}

export function objectsOf(file: string): readonly Manifest[] {
  return parseAllDocuments(readFileSync(join(FOLDER, file), 'utf8')).map(
    (document) => ({ ...(document.toJS() as Omit<Manifest, 'file'>), file }) as Manifest,
  )
}

/** Every object of every file. */
export const ALL: readonly Manifest[] = [...CORE, ...OPTIONAL].flatMap(objectsOf)

export function one(kind: string, name: string, file?: string): Manifest {
  const found = ALL.filter(
    (object) => object.kind === kind && object.metadata.name === name && (file === undefined || object.file === file),
  )
  if (found.length !== 1) throw new Error(`${found.length} objects are ${kind} ${name}`)
  return found[0] as Manifest
}

/** What stands at a path of members and indices: `spec.template.spec.containers.0`. */
export function at(value: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>(
      (inner, step) => (typeof inner === 'object' && inner !== null ? (inner as Record<string, unknown>)[step] : undefined),
      value,
    )
}

/** Objects that make pods, with the pod they make. */
export function workloads(): readonly {
  readonly object: Manifest
  readonly pod: unknown
  readonly labels: Readonly<Record<string, string>>
}[] {
  return ALL.flatMap((object) => {
    const template = at(object, object.kind === 'CronJob' ? 'spec.jobTemplate.spec.template' : 'spec.template')
    if (template === undefined) return []
    return [{ object, pod: at(template, 'spec'), labels: at(template, 'metadata.labels') as Readonly<Record<string, string>> }]
  })
}

/** Files of the folder that are manifests, `nodeport/` included. */
export function yamlFiles(): readonly string[] {
  return readdirSync(FOLDER, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.yaml'))
    .sort()
}
