import { describe, expect, test } from 'vitest'
import { type ValuesKey, valuesKeys } from '../../infra/helm/values-keys.ts'
import { Objects, objectsOf, renderedText, template } from './helm.ts'
import { COMPONENTS, MCP_ADAPTER, PLAINTEXT } from './profiles.ts'
import { isMap, merged, textAt, treeOf } from './tree.ts'

/** No key of values.yaml is dead: each, changed, changes what is rendered. */
const RC = { files: ['values.rc.yaml'] }

const KEYS = valuesKeys().map((key) => ({ ...key, name: key.path.join('.') }))
const OF_SERVICES = KEYS.filter(({ path }) => path[0] === 'services')
const OTHERS = KEYS.filter(({ path }) => path[0] !== 'services')

type Values = Readonly<Record<string, unknown>>

const peer = [{ podSelector: {} }]
const storage = [{ name: 'more', emptyDir: {} }]
const container = [{ name: 'more', image: 'busybox:1' }]

/** Values of keys for which "something else of the same type" says too little, by the end of their path; the longest end counts. */
const CHANGED: Readonly<Record<string, unknown>> = {
  'global.mode': 'dev',
  'global.digest': `sha256:${'0'.repeat(64)}`,
  'global.imagePullPolicy': 'Always',
  'global.logLevel': 'warn',
  'global.issuerUrl': 'https://sts.acme.io',
  'global.issuerAliases': ['https://old.acme.io'],
  'global.otelExporterOtlpEndpoint': 'http://otel.observability.svc:4317',
  'global.otelExporterOtlpProtocol': 'http/protobuf',
  'streams.driver': 'postgres',
  'secrets.plaintext': { ...PLAINTEXT, adminToken: 'another' },
  'secrets.rotation': ['zoneKek'],
  'secrets.database.sslMode': 'require',
  'secrets.database.hostFromSecret': false,
  'migrations.mode': 'external',
  'networkPolicy.dnsEgress': ['10.0.0.10/32'],
  'networkPolicy.extraEgress': [{ cidrs: ['203.0.113.0/24'], ports: [443] }],
  'networkPolicy.extraIngress': [{ cidrs: ['203.0.113.0/24'], ports: [3000] }],
  'networkPolicy.clusterDns.podLabels': { 'k8s-app': 'coredns' },
  'networkPolicy.clusterDns.enabled': false,
  'networkPolicy.ingressController': peer,
  'networkPolicy.clients': peer,
  'networkPolicy.prometheus': peer,
  to: ['10.20.30.0/24'],
  parentRefs: [{ name: 'edge' }],
  paths: ['/v1'],
  'replayPersistence.size': '3Gi',
  'replayPersistence.accessModes': ['ReadWriteOncePod'],
  whenDeleted: 'Delete',
  whenScaled: 'Delete',
  'alertRules.disabled': ['CaracalTargetDown'],
  'audit.anchors': ['file:///anchors/a.jsonl'],
  extraObjects: [{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'more' } }],
  imagePullSecrets: ['registry'],
  size: '7Gi',
  interval: '45s',
  scrapeTimeout: '7s',
  antiAffinity: 'hard',
  tolerations: [{ key: 'dedicated', operator: 'Exists' }],
  hostAliases: [{ ip: '10.0.0.1', hostnames: ['a'] }],
  dnsConfig: { options: [{ name: 'ndots', value: '1' }] },
  topologySpreadConstraints: [{ maxSkew: 2, topologyKey: 'zone', whenUnsatisfiable: 'ScheduleAnyway' }],
  affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [] } } },
  env: [{ name: 'MORE', value: '1' }],
  extraEnvFrom: [{ configMapRef: { name: 'more' } }],
  extraArgs: ['--more'],
  extraVolumes: storage,
  extraVolumeMounts: [{ name: 'more', mountPath: '/more' }],
  initContainers: container,
  sidecars: container,
  podSecurityContext: { supplementalGroups: [7] },
  containerSecurityContext: { runAsUser: 7 },
  trustedProxies: ['10.0.0.0/8'],
  upstreamAllowlist: ['api.acme.io'],
  sourceRanges: ['10.0.0.0/8'],
  trafficDistribution: 'PreferClose',
  resources: { requests: { cpu: '1' } },
  behavior: { scaleDown: { stabilizationWindowSeconds: 7 } },
  'pdb.minAvailable': 1,
  targetMemoryUtilizationPercentage: 80,
  'keda.threshold': '7',
  'loadBalancer.port': 8443,
  'secrets.database.maxConnections': 10,
  replicas: 5,
  'mcpAdapter.servers': [{ name: 'other', url: 'https://other.acme.io/mcp' }],
  'mcpAdapter.publicUrl': 'https://mcp.acme.io',
  'mcpAdapter.allowedOrigins': ['https://app.acme.io'],
  serverTimeout: '7s',
  chargeExpiration: '7s',
  chargeMax: '2h',
  sweepInterval: '7s',
  sliceTtl: '7s',
  usageRetention: '30d',
}

/** What must hold for a key of services.<name> to matter, by the beginning of its path. */
const SERVICE_CONTEXTS: readonly { readonly when: RegExp; readonly values: Values }[] = [
  { when: /^pdb\./, values: { pdb: { enabled: true } } },
  { when: /^hpa\./, values: { hpa: { enabled: true } } },
  { when: /^keda\./, values: { keda: { enabled: true, serverAddress: 'http://prometheus:9090', query: 'up', threshold: '5' } } },
  { when: /^loadBalancer\./, values: { loadBalancer: { enabled: true, sourceRanges: ['192.0.2.0/24'] } } },
]

/** What must hold for a key to matter, by the beginning or the end of its path. */
const CONTEXTS: readonly { readonly when: RegExp; readonly values: Values }[] = [
  { when: /^global\.otelExporterOtlpProtocol/, values: { global: { otelExporterOtlpEndpoint: 'http://otel.observability.svc:8080' } } },
  { when: /^networkPolicy\.otlp/, values: { global: { otelExporterOtlpEndpoint: 'http://otel.observability.svc:4317' } } },
  { when: /^global\.caBundle\.key/, values: { global: { caBundle: { secretName: 'ca' } } } },
  { when: /^secrets\.plaintext|^secrets\.create/, values: { global: { evaluation: true }, secrets: { plaintext: PLAINTEXT } } },
  { when: /^secrets\.plaintext/, values: { secrets: { create: true } } },
  {
    when: /^secrets\.database\.(host|port|name|user|passwordKey|sslMode)$/,
    values: { secrets: { database: { host: 'pg.internal.acme.io' } } },
  },
  { when: /^secrets\.metricsBearer\.(secretName|key)/, values: { secrets: { metricsBearer: { enabled: true } } } },
  { when: /^networkPolicy\.clusterDns/, values: { networkPolicy: { dnsEgress: ['10.0.0.10/32'] } } },
  ...['api', 'gateway', 'sts'].flatMap((name) => [
    {
      when: new RegExp(`^ingress\\.${name}\\.`),
      values: { networkPolicy: { clients: peer }, ingress: { [name]: { enabled: true, host: `${name}.acme.io`, tlsSecretName: 'tls' } } },
    },
    {
      when: new RegExp(`^httpRoute\\.${name}\\.`),
      values: {
        networkPolicy: { clients: peer },
        httpRoute: { [name]: { enabled: true, hostname: `${name}.acme.io`, parentRefs: [{ name: 'a' }] } },
      },
    },
  ]),
  { when: /^mcpAdapter\./, values: MCP_ADAPTER },
  ...SERVICE_CONTEXTS.map(({ when, values }) => ({
    when: new RegExp(`^mcpAdapter\\.${when.source.slice(1)}`),
    values: { mcpAdapter: values },
  })),
  {
    when: /^mcpAdapter\.ingress\./,
    values: { networkPolicy: { clients: peer }, mcpAdapter: { ingress: { enabled: true, host: 'mcp.acme.io', tlsSecretName: 'tls' } } },
  },
  {
    when: /^mcpAdapter\.httpRoute\./,
    values: {
      networkPolicy: { clients: peer },
      mcpAdapter: { httpRoute: { enabled: true, hostname: 'mcp.acme.io', parentRefs: [{ name: 'a' }] } },
    },
  },
  { when: /^serviceMonitor\.enabled/, values: { serviceMonitor: { enabled: false } } },
  { when: /^alertRules\.enabled/, values: { alertRules: { enabled: false } } },
  { when: /^dashboards\.enabled/, values: { dashboards: { enabled: false } } },
  { when: /^scheduling\.zoneSpread/, values: { scheduling: { zoneSpread: false } } },
  // These only decide whether anything is rendered at all.
  { when: /^secrets\.redis\.host/, values: { global: { mode: 'stable' }, secrets: { redis: { hostFromSecret: false } } } },
  { when: /^global\.evaluation/, values: { secrets: { create: true, plaintext: PLAINTEXT } } },
  { when: /^devStores\.postgres\./, values: { global: { mode: 'dev' }, devStores: { postgres: { enabled: true } } } },
]

/** Another value of the same kind. */
function other({ name, value }: { readonly name: string; readonly value: unknown }): unknown {
  const steps = name.split('.')
  for (let from = 0; from < steps.length; from += 1) {
    const end = steps.slice(from).join('.')
    if (Object.hasOwn(CHANGED, end)) return CHANGED[end]
  }
  if (typeof value === 'boolean') return !value
  if (typeof value === 'number') return value >= 1 ? value + 1 : value / 2 + 0.01
  if (typeof value === 'string') return 'another'
  if (isMap(value)) return { another: 'value' }
  throw new Error(`no other value is known for ${name}`)
}

/** The value a context gives to a key must not be the changed one. */
const contextOf = (name: string, contexts: typeof CONTEXTS) =>
  merged(...contexts.filter(({ when }) => when.test(name)).map(({ values }) => values))

describe('a changed key changes the render', () => {
  test.each(OTHERS)('[0-18] $name', async (key: ValuesKey & { readonly name: string }) => {
    const context = contextOf(key.name, CONTEXTS)
    const value = contextChanged(key.name, context) ?? other(key)
    const before = await outcome(context)
    expect(await outcome(merged(context, treeOf(key.name, value)))).not.toBe(before)
  })

  // The same key of all services at once: the objects of each must differ.
  const names = [...new Set(OF_SERVICES.map(({ path }) => path.slice(2).join('.')))]
  test.each(names)('[0-18] services.<name>.%s', async (name) => {
    const owners = OF_SERVICES.filter(({ path }) => path.slice(2).join('.') === name)
    const context = contextOf(name, SERVICE_CONTEXTS)
    const each = (values: (key: (typeof owners)[number]) => Values) => ({
      services: Object.fromEntries(owners.map((key) => [key.path[1], values(key)])),
    })
    const before = new Objects(objectsOf(await renderedText({ ...RC, values: each(() => context) })))
    const changed = each((key) => merged(context, treeOf(name, contextChanged(name, context) ?? other(key))))
    const after = new Objects(objectsOf(await renderedText({ ...RC, values: changed })))
    for (const { path } of owners) expect([path[1], of(after, path[1])]).not.toEqual([path[1], of(before, path[1])])
  })
})

test('[0-18] the paths of the installation guide exist', () => {
  const known = new Set(KEYS.map(({ name }) => name))
  const documented = [
    ...['registry', 'tag', 'imagePullPolicy', 'mode', 'otelExporterOtlpEndpoint'].map((key) => `global.${key}`),
    'secrets.runtimeSecretName',
    ...['host', 'port', 'name', 'user', 'passwordKey', 'sslMode'].map((key) => `secrets.database.${key}`),
    ...['host', 'port'].map((key) => `secrets.redis.${key}`),
    ...['adminToken', 'coordinatorToken', 'stsAdminToken', 'auditAdminToken'].flatMap((key) => [
      `secrets.${key}.secretName`,
      `secrets.${key}.key`,
    ]),
    ...['enabled', 'allowOpenDns', 'allowOpenHttps', 'dnsEgress', 'extraEgress', 'extraIngress'].map((key) => `networkPolicy.${key}`),
    ...['gateway', 'api'].flatMap((name) =>
      ['enabled', 'className', 'host', 'annotations', 'tlsSecretName'].map((key) => `ingress.${name}.${key}`),
    ),
    ...COMPONENTS.flatMap((name) => ['replicas', 'pdb.enabled', 'hpa.enabled', 'resources'].map((key) => `services.${name}.${key}`)),
    ...['enabled', 'storageClassName', 'size'].map((key) => `replayPersistence.${key}`),
    'serviceMonitor.enabled',
    'alertRules.enabled',
  ]
  expect(documented.filter((path) => !known.has(path))).toEqual([])
})

/** What the chart refuses is an outcome too, for keys that only decide whether anything is rendered; what the schema refuses is none. */
async function outcome(values: Values): Promise<string> {
  const { code, stdout, stderr } = await template({ ...RC, values })
  if (code !== 0 && !stderr.includes('The values do not hold')) throw new Error(stderr)
  return code === 0 ? stdout : stderr
}

/** A key that its own context already sets takes the opposite of that. */
function contextChanged(name: string, context: Values): unknown {
  let here: unknown = context
  for (const step of name.split('.')) here = isMap(here) ? here[step] : undefined
  if (typeof here === 'boolean') return !here
  return undefined
}

/** What is rendered for one component. */
function of(objects: Objects, component: string | undefined): readonly unknown[] {
  return objects.all.filter((object) => textAt(object, 'metadata.name').startsWith(`caracal-${component}`))
}
