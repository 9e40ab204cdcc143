import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { block, CARACAL } from './page-commands.ts'
import { inFolder, POSTGRES_HOST, REDIS_HOST, repository } from './place.ts'
import { run, tool } from './processes.ts'
import { freshDatabase, POSTGRES_PASSWORD, REDIS_PASSWORD, redis } from './stores.ts'
import { offerVolumes } from './volumes.ts'

export type HelmVersion = 'helm-4' | 'helm-3'
export type Overlay = 'production' | 'rc' | 'dev'

export const NAMESPACE = 'caracal'
export const SMALL_NODE = 'tests/cluster/values/small-node.yaml'

export const kubectl = (...args: readonly string[]): string => run([tool('kubectl'), ...args], { timeoutSeconds: 300 })
export const apply = (object: unknown): string => run([tool('kubectl'), 'apply', '-f', '-'], { input: JSON.stringify(object) })
export const helm = (version: HelmVersion, ...args: readonly string[]): string => run([tool(version), ...args], { timeoutSeconds: 400 })

/** Runs a command line as a page prints it, from the root of the repository, with the Helm that is asked for. */
export const shell = (line: string, version: HelmVersion = 'helm-4'): string =>
  run(['bash', '-c', `set -euo pipefail; PATH=${inFolder(version === 'helm-4' ? 'bin' : 'bin-helm-3')}:$PATH; ${line}`], {
    timeoutSeconds: 400,
  })

export const installCommand = (overlay: Overlay, ...more: readonly string[]): readonly string[] => [
  ...['upgrade', '--install', 'caracal', 'infra/helm/caracal', '--namespace', NAMESPACE, '--create-namespace'],
  ...['--values', `infra/helm/caracal/values.${overlay}.yaml`, '--values', SMALL_NODE, ...more],
]

/** An empty namespace with the Secrets an operator brings, an empty database and an empty Redis. */
export function prepare(overlay: Overlay): void {
  emptyStores()
  kubectl('create', 'namespace', NAMESPACE)
  restrict()
  kubectl('-n', NAMESPACE, 'create', 'secret', 'generic', 'stores-ca', `--from-file=ca.crt=${inFolder('pki/ca.crt')}`)
  run([tool('kubectl'), 'apply', '-n', NAMESPACE, '-f', '-'], { input: runtimeSecret(overlay) })
}

/** What a page has an operator do before the first install, with its own commands: the namespace and the runtime Secret. */
export function prepareAsPrinted(): void {
  emptyStores()
  const commands = block('deploy-with-helm.md', 'caracal secrets generate')
    .replace('<postgres-host>', POSTGRES_HOST)
    .replace('<redis-host>', REDIS_HOST)
    .replace('--database-password-file <file>', `--database-password-file ${secretFile('postgres-password', POSTGRES_PASSWORD)}`)
    .replace('--redis-password-file <file>', `--redis-password-file ${secretFile('redis-password', REDIS_PASSWORD)}`)
  shell(commands.replaceAll('npx caracal', CARACAL))
  restrict()
}

function emptyStores(): void {
  remove()
  freshDatabase('caracal')
  redis('FLUSHALL')
  offerVolumes()
}

/** The namespace takes only pods of the restricted standard. */
function restrict(): void {
  kubectl('label', 'namespace', NAMESPACE, 'name=caracal', 'pod-security.kubernetes.io/enforce=restricted')
}

/** A file that only its owner reads, below the cluster's folder. */
function secretFile(name: string, content: string): string {
  writeFileSync(inFolder(name), content, { mode: 0o600 })
  return inFolder(name)
}

/** What `caracal secrets generate` prints for these stores. */
function runtimeSecret(overlay: Overlay): string {
  const stores = [
    ...['--database-host', POSTGRES_HOST, '--database-password-file', secretFile('postgres-password', POSTGRES_PASSWORD)],
    ...['--redis-host', REDIS_HOST, '--redis-password-file', secretFile('redis-password', REDIS_PASSWORD)],
  ]
  return caracal('secrets', 'generate', ...(overlay === 'dev' ? ['--profile', 'dev'] : stores))
}

/** Our command line of the work tree, in the cluster's network. */
export const caracal = (...args: readonly string[]): string =>
  run([join(repository, 'node_modules/.bin/node'), join(repository, 'apps/cli/src/main.ts'), ...args])

/** Uninstalls the release and removes its namespace, if there are any. */
export function remove(): void {
  try {
    helm('helm-4', 'uninstall', 'caracal', '--namespace', NAMESPACE, '--wait')
  } catch {
    // nothing was installed
  }
  kubectl('delete', 'namespace', NAMESPACE, '--ignore-not-found', '--wait', '--timeout=180s')
}

export type Pod = {
  readonly name: string
  readonly component: string
  readonly ready: boolean
  readonly ending: boolean
  readonly ip: string
  readonly image: string
}

export function pods(): readonly Pod[] {
  const { items } = JSON.parse(kubectl('-n', NAMESPACE, 'get', 'pods', '-o', 'json')) as { items: readonly PodObject[] }
  return items.map(({ metadata, status, spec }) => ({
    name: metadata.name,
    component: metadata.labels['app.kubernetes.io/component'] ?? '',
    ready: status.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false,
    ending: metadata.deletionTimestamp !== undefined,
    ip: status.podIP ?? '',
    image: spec.containers[0]?.image ?? '',
  }))
}

type PodObject = {
  readonly metadata: { readonly name: string; readonly deletionTimestamp?: string; readonly labels: Readonly<Record<string, string>> }
  readonly status: { readonly podIP?: string; readonly conditions?: readonly { readonly type: string; readonly status: string }[] }
  readonly spec: { readonly containers: readonly { readonly image: string }[] }
}
