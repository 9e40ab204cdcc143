import { COMPONENTS, type ComponentName, METRICS_PORT, OPTIONAL_SERVICES, SERVICE_NAMES } from '@caracal/service'
import { at, type KubeObject, listAt, nameOf, numberAt, textAt } from './kubectl.ts'
import { roleOf } from './workloads.ts'

/** What a container of ours may have beside the settings of its role. */
const BESIDE = /^(?:POD_NAME|POD_NAMESPACE|TMPDIR|NODE_OPTIONS|OTEL_[A-Z_]+)$/

/** Where rendered workloads differ from what the processes take: arguments, ports, environment, keys of the Secret. */
export function renderDifferences(objects: readonly KubeObject[]): string[] {
  const workloads = objects.filter((one) => ['Deployment', 'StatefulSet'].includes(textAt(one, 'kind')))
  const ours = workloads.filter((one) => SERVICE_NAMES.some((name) => name === roleOf(one)))
  const missing = SERVICE_NAMES.filter((name) => !OPTIONAL_SERVICES.includes(name) && !ours.some((one) => roleOf(one) === name)).map(
    (name) => `there is no workload of ${name}`,
  )
  return [...missing, ...ours.flatMap((one) => workloadDifferences(one)), ...serviceDifferences(objects)]
}

/** The Secret that workloads mount, and which of its keys each demands. */
export function demandedKeys(objects: readonly KubeObject[]): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, Set<string>>()
  for (const workload of objects) {
    for (const { secret, key, optional } of mountedKeys(workload)) {
      if (optional || secret === '') continue
      const keys = found.get(secret) ?? new Set()
      found.set(secret, keys.add(key))
    }
  }
  return new Map([...found].map(([secret, keys]) => [secret, [...keys].sort()]))
}

function workloadDifferences(workload: KubeObject): string[] {
  const role = roleOf(workload) as ComponentName
  const contract = COMPONENTS[role]
  const who = nameOf(workload)
  const container = listAt(workload, 'spec', 'template', 'spec', 'containers').find((one) => textAt(one, 'name') === role)
  if (container === undefined) return [`${who} has no container ${role}`]
  const args = (at(container, 'args') ?? []) as readonly unknown[]
  const ports = new Map(listAt(container, 'ports').map((one) => [textAt(one, 'name'), numberAt(one, 'containerPort')]))
  const env = new Map(listAt(container, 'env').map((one) => [textAt(one, 'name'), textAt(one, 'value')]))
  const mounted = mountedKeys(workload)
  const settings = new Set([...contract.settings, ...contract.keys.map(({ setting }) => setting)])
  const found: string[] = []
  if (!contract.args.every((arg, index) => args[index] === arg)) found.push(`${who} runs ${args.join(' ')}, not ${contract.args.join(' ')}`)
  if (ports.get('http') !== contract.port) found.push(`${who} has its port http at ${ports.get('http') ?? 'none'}, not ${contract.port}`)
  if (ports.get('metrics') !== METRICS_PORT)
    found.push(`${who} has its port metrics at ${ports.get('metrics') ?? 'none'}, not ${METRICS_PORT}`)
  for (const [name, value] of env) {
    const setting = name.replace(/(?:_PREVIOUS)?(?:_FILE)?$/, '')
    if (!settings.has(name) && !settings.has(setting) && !BESIDE.test(name) && name.startsWith('CARACAL_'))
      found.push(`${who} sets ${name}, which ${role} does not know`)
    const file = name.endsWith('_FILE') ? /^\/run\/secrets\/caracal\/(.+)$/.exec(value)?.[1] : undefined
    if (file !== undefined && !mounted.some(({ path }) => path === file))
      found.push(`${who} reads ${name} from ${value}, which is not mounted`)
  }
  for (const { key, setting, required, when } of contract.keys) {
    if (!required || when !== undefined) continue
    if (!env.has(`${setting}_FILE`)) found.push(`${who} does not set ${setting}_FILE`)
    if (!mounted.some((one) => one.key === key)) found.push(`${who} does not mount ${key}`)
  }
  for (const { key } of mounted) {
    if (!contract.keys.some((one) => one.key === key || `${one.key}Previous` === key))
      found.push(`${who} mounts ${key}, which ${role} has no use for`)
  }
  return found
}

function serviceDifferences(objects: readonly KubeObject[]): string[] {
  return objects
    .filter((one) => textAt(one, 'kind') === 'Service' && SERVICE_NAMES.some((name) => name === roleOf(one)))
    .flatMap((service) => {
      const contract = COMPONENTS[roleOf(service) as ComponentName]
      const http = listAt(service, 'spec', 'ports').find((one) => textAt(one, 'name') === 'http')
      const lonely = textAt(service, 'spec', 'type') === 'LoadBalancer' || http === undefined
      if (lonely || numberAt(http, 'port') === contract.port) return []
      return [`the Service ${nameOf(service)} has http at ${numberAt(http, 'port')}, not ${contract.port}`]
    })
}

type Mounted = { readonly secret: string; readonly key: string; readonly path: string; readonly optional: boolean }

/** Keys of the volume `secrets`, plain or projected. */
function mountedKeys(workload: KubeObject): readonly Mounted[] {
  const volume = listAt(workload, 'spec', 'template', 'spec', 'volumes').find((one) => textAt(one, 'name') === 'secrets')
  const plain = at(volume, 'secret')
  const sources = plain === undefined ? listAt(volume, 'projected', 'sources').map((one) => at(one, 'secret')) : [plain]
  return sources.flatMap((source) =>
    listAt(source, 'items').map((item) => ({
      secret: textAt(source, 'name') || textAt(source, 'secretName'),
      key: textAt(item, 'key'),
      path: textAt(item, 'path'),
      optional: at(source, 'optional') === true,
    })),
  )
}
