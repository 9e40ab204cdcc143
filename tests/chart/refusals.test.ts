import { describe, expect, test } from 'vitest'
import { type Asked, template } from './helm.ts'
import { CLOUD, DEV, MCP_ADAPTER, PLAINTEXT, PRODUCTION, RC, REGULATED, REGULATED_FACTS } from './profiles.ts'
import { merged, treeOf } from './tree.ts'

type Mode = 'dev' | 'rc' | 'stable'

const OVERLAYS: Readonly<Record<Mode, Asked>> = { dev: DEV, rc: RC, stable: PRODUCTION }
const MODES = Object.keys(OVERLAYS) as readonly Mode[]
const EVERYWHERE = MODES
const STRICT: readonly Mode[] = ['rc', 'stable']
const STABLE: readonly Mode[] = ['stable']

type Refusal = {
  readonly id: string
  readonly when: string
  readonly values: Readonly<Record<string, unknown>>
  readonly refusedIn: readonly Mode[]
  /** What the message names: the key, and what mends it. */
  readonly names: readonly string[]
}

const SENTINELS = { database: 'postgres.default.svc.cluster.local', redis: 'redis.default.svc.cluster.local' }
const peer = [{ podSelector: {} }]
const exposed = { enabled: true, host: 'a.acme.io', tlsSecretName: 'a-tls' }
const noScaling = { hpa: { enabled: false } }
const mcp = (own: Readonly<Record<string, unknown>>) => merged(MCP_ADAPTER, { mcpAdapter: own })
const server = (url: string) => ({ servers: [{ name: 'tools', url }] })
const policies = { networkPolicy: { enabled: true } }
/** In dev the chart's own Postgres makes some faults harmless. */
const managed = { devStores: { postgres: { enabled: false } }, streams: { driver: 'redis' } }

const REFUSALS: readonly Refusal[] = [
  {
    id: 'V01',
    when: 'no mode is chosen',
    values: { global: { mode: '' } },
    refusedIn: EVERYWHERE,
    names: ['global.mode', 'values.production.yaml', 'values.rc.yaml', 'values.dev.yaml'],
  },
  {
    id: 'V02',
    when: 'the chart shall make the Secret',
    values: { secrets: { create: true, plaintext: PLAINTEXT } },
    refusedIn: STRICT,
    names: ['secrets.create', 'External Secrets', 'caracal secrets generate'],
  },
  {
    id: 'V02 evaluation',
    when: 'the chart shall make the Secret of an evaluation',
    values: { global: { evaluation: true }, secrets: { create: true, plaintext: PLAINTEXT } },
    refusedIn: STABLE,
    names: ['secrets.create', 'caracal secrets generate'],
  },
  {
    id: 'V03',
    when: 'a value of the Secret is empty',
    values: { global: { evaluation: true }, secrets: { create: true, plaintext: { ...PLAINTEXT, zoneKek: '', adminToken: '' } } },
    refusedIn: EVERYWHERE,
    names: ['secrets.plaintext.zoneKek', 'secrets.plaintext.adminToken', 'caracal secrets generate -o values'],
  },
  {
    id: 'V04',
    when: 'nobody said where Postgres is',
    values: { secrets: { database: { host: SENTINELS.database, hostFromSecret: false } } },
    refusedIn: STABLE,
    names: ['secrets.database.host', '--set secrets.database.host=', 'secrets.database.hostFromSecret=true'],
  },
  {
    id: 'V05',
    when: 'nobody said where Redis is',
    values: { secrets: { redis: { host: SENTINELS.redis, hostFromSecret: false } }, ...managed },
    refusedIn: STABLE,
    names: ['secrets.redis.host', '--set secrets.redis.host=', 'secrets.redis.hostFromSecret=true'],
  },
  ...['localhost', '127.0.0.1', '::1', ''].map((host) => ({
    id: `V06 ${host || 'empty'}`,
    when: `Postgres is at "${host}"`,
    values: { secrets: { database: { host } } },
    refusedIn: STRICT,
    names: ['secrets.database.host'],
  })),
  {
    id: 'V06 redis',
    when: 'Redis is at localhost',
    values: { secrets: { redis: { host: 'localhost' } }, ...managed },
    refusedIn: STRICT,
    names: ['secrets.redis.host'],
  },
  {
    id: 'V07',
    when: 'Postgres is reached without TLS',
    values: { secrets: { database: { sslMode: 'disable' } } },
    refusedIn: STRICT,
    names: ['secrets.database.sslMode', 'verify-full'],
  },
  {
    id: 'V08',
    when: 'streams are in Postgres',
    values: { streams: { driver: 'postgres' } },
    refusedIn: STABLE,
    names: ['streams.driver=redis'],
  },
  {
    id: 'V08 devStores',
    when: 'Postgres is the chart’s own',
    values: { devStores: { postgres: { enabled: true } } },
    refusedIn: STRICT,
    names: ['devStores.postgres.enabled'],
  },
  {
    id: 'V09',
    when: 'there are no policies',
    values: { networkPolicy: { enabled: false } },
    refusedIn: STRICT,
    names: ['networkPolicy.enabled', 'extraEgress'],
  },
  {
    id: 'V10',
    when: 'no name can be resolved',
    values: { networkPolicy: { enabled: true, clusterDns: { enabled: false } } },
    refusedIn: EVERYWHERE,
    names: ['networkPolicy.clusterDns.enabled=true', 'networkPolicy.dnsEgress'],
  },
  {
    id: 'V11',
    when: 'Postgres cannot be reached',
    values: merged(managed, { networkPolicy: { enabled: true, postgres: { to: [] } } }),
    refusedIn: EVERYWHERE,
    names: ['networkPolicy.postgres.to'],
  },
  {
    id: 'V11 redis',
    when: 'Redis cannot be reached',
    values: merged(managed, { networkPolicy: { enabled: true, redis: { to: [] } } }),
    refusedIn: EVERYWHERE,
    names: ['networkPolicy.redis.to'],
  },
  {
    id: 'V12',
    when: 'nobody knows where traces go',
    values: merged(policies, { global: { otelExporterOtlpEndpoint: 'https://otel.acme.io:4317' } }),
    refusedIn: STRICT,
    names: ['networkPolicy.otlp.to', 'global.otelExporterOtlpEndpoint'],
  },
  {
    id: 'V12 protocol',
    when: 'port and protocol of traces do not go together',
    values: { global: { otelExporterOtlpEndpoint: 'http://otel.observability.svc:4318', otelExporterOtlpProtocol: 'grpc' } },
    refusedIn: STRICT,
    names: ['global.otelExporterOtlpProtocol', '4318', 'http/protobuf'],
  },
  {
    id: 'V13 ingress',
    when: 'an Ingress is on and nothing lets its traffic in',
    values: merged(policies, { ingress: { gateway: exposed } }),
    refusedIn: STRICT,
    names: ['ingress.gateway.enabled', 'networkPolicy.ingressController'],
  },
  {
    id: 'V13 httpRoute',
    when: 'a route is on and nothing lets its traffic in',
    values: merged(policies, { httpRoute: { api: { enabled: true, hostname: 'a.acme.io', parentRefs: [{ name: 'edge' }] } } }),
    refusedIn: STRICT,
    names: ['httpRoute.api.enabled', 'networkPolicy.ingressController'],
  },
  {
    id: 'V13 loadBalancer',
    when: 'a load balancer is on and nothing lets its traffic in',
    values: merged(policies, { services: { gateway: { loadBalancer: { enabled: true } } } }),
    refusedIn: STRICT,
    names: ['services.gateway.loadBalancer.sourceRanges', 'networkPolicy.clients'],
  },
  {
    id: 'V14',
    when: 'an Ingress has no certificate',
    values: { networkPolicy: { ingressController: peer }, ingress: { api: { enabled: true, host: 'a.acme.io' } } },
    refusedIn: STRICT,
    names: ['ingress.api.tlsSecretName', 'tlsAtController=true'],
  },
  {
    id: 'V14 host',
    when: 'an Ingress has no host',
    values: { networkPolicy: { ingressController: peer }, ingress: { api: { ...exposed, host: '' } } },
    refusedIn: EVERYWHERE,
    names: ['ingress.api.host'],
  },
  {
    id: 'V14 paths',
    when: 'an Ingress would let internal routes through',
    values: { networkPolicy: { ingressController: peer }, ingress: { api: { ...exposed, paths: ['/internal'] } } },
    refusedIn: EVERYWHERE,
    names: ['ingress.api.paths', '/internal'],
  },
  {
    id: 'V15',
    when: 'the issuer is not https',
    values: { global: { issuerUrl: 'http://sts.acme.io' } },
    refusedIn: STRICT,
    names: ['global.issuerUrl', 'https://'],
  },
  {
    id: 'V15 example',
    when: 'the issuer is an example',
    values: { global: { issuerUrl: 'https://sts.example.com' } },
    refusedIn: STRICT,
    names: ['global.issuerUrl', 'sts.example.com'],
  },
  {
    id: 'V15 exposed',
    when: 'the STS is exposed under another name',
    values: {
      global: { issuerUrl: 'https://id.acme.io' },
      networkPolicy: { ingressController: peer },
      ingress: { sts: { ...exposed, host: 'sts.acme.io' } },
    },
    refusedIn: STRICT,
    names: ['global.issuerUrl', 'sts.acme.io', 'global.issuerAliases'],
  },
  {
    id: 'V16',
    when: 'a service has one replica',
    values: { services: { audit: { ...noScaling, replicas: 1 } } },
    refusedIn: STABLE,
    names: ['services.audit.replicas'],
  },
  {
    id: 'V16 scaled',
    when: 'a service may be scaled down to one',
    values: { services: { api: { hpa: { enabled: true, minReplicas: 1 } } } },
    refusedIn: STABLE,
    names: ['services.api.hpa.minReplicas'],
  },
  {
    id: 'V17',
    when: 'a budget lets no pod go',
    values: { services: { sts: { ...noScaling, replicas: 2, pdb: { enabled: true, minAvailable: 2 } } } },
    refusedIn: EVERYWHERE,
    names: ['services.sts.pdb.minAvailable', 'maxUnavailable=1'],
  },
  {
    id: 'V17 percent',
    when: 'a budget lets no pod go, in percent',
    values: { services: { sts: { pdb: { enabled: true, minAvailable: '100%' } } } },
    refusedIn: EVERYWHERE,
    names: ['services.sts.pdb.minAvailable'],
  },
  {
    id: 'V18',
    when: 'evidence would die with its pod',
    values: { replayPersistence: { enabled: false } },
    refusedIn: STABLE,
    names: ['replayPersistence.enabled'],
  },
  {
    id: 'V20',
    when: 'two scalers would fight',
    values: { services: { gateway: { hpa: { enabled: true }, keda: { enabled: true, serverAddress: 'http://prometheus:9090' } } } },
    refusedIn: EVERYWHERE,
    names: ['services.gateway', 'hpa.enabled', 'keda.enabled'],
  },
  {
    id: 'V20 range',
    when: 'the most replicas are fewer than the fewest',
    values: { services: { api: { hpa: { enabled: true, minReplicas: 4, maxReplicas: 3 } } } },
    refusedIn: EVERYWHERE,
    names: ['services.api.hpa.maxReplicas'],
  },
  {
    id: 'V21 logs',
    when: 'logs are for debugging',
    values: { global: { logLevel: 'debug' } },
    refusedIn: STABLE,
    names: ['global.logLevel'],
  },
  {
    id: 'V21 tag',
    when: 'the image is whatever is latest',
    values: { global: { tag: 'latest' } },
    refusedIn: STRICT,
    names: ['global.tag', 'global.digest'],
  },
  {
    id: 'V22',
    when: 'services would migrate',
    values: { migrations: { mode: 'init' } },
    refusedIn: STABLE,
    names: ['migrations.mode=job'],
  },
  {
    id: 'V23',
    when: 'the MCP Adapter has no server',
    values: mcp({ servers: [] }),
    refusedIn: EVERYWHERE,
    names: ['mcpAdapter.enabled', 'mcpAdapter.servers', '--set mcpAdapter.servers[0].name=', '--set mcpAdapter.servers[0].url='],
  },
  {
    id: 'V23 twice',
    when: 'two MCP servers have one name',
    values: mcp({ servers: [server('http://a.agents.svc/mcp'), server('http://b.agents.svc/mcp')].flatMap(({ servers }) => servers) }),
    refusedIn: EVERYWHERE,
    names: ['mcpAdapter.servers', 'tools twice'],
  },
  ...['http://user:word@tools.agents.svc/mcp', 'http://tools.agents.svc/mcp?key=1', 'http://tools.agents.svc/mcp#a'].map((url) => ({
    id: `V23 ${url.slice(7, 12)}${url.at(-1)}`,
    when: `the URL of an MCP server is ${url}`,
    values: mcp(server(url)),
    refusedIn: EVERYWHERE,
    names: ['mcpAdapter.servers', 'tools', 'provider of its resource'],
  })),
  {
    id: 'V23 way',
    when: 'no policy lets the MCP Adapter out to its servers',
    values: merged(policies, { mcpAdapter: MCP_ADAPTER.mcpAdapter }),
    refusedIn: STRICT,
    names: ['mcpAdapter.servers', 'networkPolicy.extraEgress', 'components: [mcp-adapter]'],
  },
  {
    id: 'V23 elsewhere',
    when: 'the way out is another component’s',
    values: merged(policies, {
      mcpAdapter: MCP_ADAPTER.mcpAdapter,
      networkPolicy: { extraEgress: [{ cidrs: ['10.0.0.0/8'], ports: [8000], components: ['gateway'] }] },
    }),
    refusedIn: STRICT,
    names: ['networkPolicy.extraEgress', 'components: [mcp-adapter]'],
  },
  ...['ingress', 'httpRoute', 'loadBalancer'].map((kind) => ({
    id: `V23 ${kind}`,
    when: `the MCP Adapter is exposed by ${kind} and is not there`,
    values: { mcpAdapter: { [kind]: { enabled: true } } },
    refusedIn: EVERYWHERE,
    names: [`mcpAdapter.${kind}.enabled`, 'mcpAdapter.enabled=true'],
  })),
  {
    id: 'V23 public',
    when: 'clients would send mandates to the MCP Adapter in the clear',
    values: mcp({ publicUrl: 'http://mcp.acme.io' }),
    refusedIn: STRICT,
    names: ['mcpAdapter.publicUrl', 'https://'],
  },
  {
    id: 'V13 MCP Adapter',
    when: 'the MCP Adapter has an Ingress and nothing lets its traffic in',
    values: merged(policies, mcp({ ingress: exposed })),
    refusedIn: STRICT,
    names: ['mcpAdapter.ingress.enabled', 'networkPolicy.ingressController'],
  },
  {
    id: 'V14 MCP Adapter',
    when: 'the Ingress of the MCP Adapter has no certificate',
    values: merged(mcp({ ingress: { enabled: true, host: 'a.acme.io' } }), { networkPolicy: { ingressController: peer } }),
    refusedIn: STRICT,
    names: ['mcpAdapter.ingress.tlsSecretName', 'tlsAtController=true'],
  },
  {
    id: 'V14 MCP Adapter paths',
    when: 'the Ingress of the MCP Adapter would let everything through',
    values: merged(mcp({ ingress: { ...exposed, paths: ['/'] } }), { networkPolicy: { ingressController: peer } }),
    refusedIn: EVERYWHERE,
    names: ['mcpAdapter.ingress.paths'],
  },
  {
    id: 'V16 MCP Adapter',
    when: 'the MCP Adapter has one replica',
    values: mcp({ ...noScaling, replicas: 1 }),
    refusedIn: STABLE,
    names: ['mcpAdapter.replicas'],
  },
  {
    id: 'V17 MCP Adapter',
    when: 'a budget lets no pod of the MCP Adapter go',
    values: mcp({ ...noScaling, replicas: 2, pdb: { enabled: true, minAvailable: 2 } }),
    refusedIn: EVERYWHERE,
    names: ['mcpAdapter.pdb.minAvailable', 'maxUnavailable=1'],
  },
  {
    id: 'V20 MCP Adapter',
    when: 'two scalers of the MCP Adapter would fight',
    values: mcp({ hpa: { enabled: true }, keda: { enabled: true, serverAddress: 'http://prometheus:9090' } }),
    refusedIn: EVERYWHERE,
    names: ['mcpAdapter has', 'hpa.enabled', 'keda.enabled'],
  },
  {
    id: 'V26',
    when: 'a charge may be asked for longer than the longest',
    values: { budgets: { chargeExpiration: '2h', chargeMax: '1h' } },
    refusedIn: EVERYWHERE,
    names: ['budgets.chargeMax', 'budgets.chargeExpiration'],
  },
  {
    id: 'V24',
    when: 'pools are larger than the database',
    values: { secrets: { database: { maxConnections: 20 } } },
    refusedIn: STRICT,
    names: ['secrets.database.maxConnections', 'api ', 'services.<name>.dbPool'],
  },
  {
    id: 'V25',
    when: 'an anchor is no file',
    values: { audit: { anchors: ['https://a.acme.io'] } },
    refusedIn: EVERYWHERE,
    names: ['audit.anchors', 'file:///'],
  },
]

/** Helm breaks no lines, but a schema may speak before the template: both are the refusal. */
async function refusal(asked: Asked): Promise<string | undefined> {
  const { code, stderr } = await template(asked)
  return code === 0 ? undefined : stderr
}

describe.each(REFUSALS)('$id', ({ when, values, refusedIn, names }) => {
  test.each(MODES)(`${when}, in %s`, async (mode) => {
    const said = await refusal({ ...OVERLAYS[mode], values })
    if (!refusedIn.includes(mode)) expect(said).toBeUndefined()
    else for (const name of names) expect(said).toContain(name)
  })
})

test('[0-12] rc holds the line of stable: what it lets pass is this list and nothing else', () => {
  const relaxed = REFUSALS.filter(({ refusedIn }) => refusedIn.includes('stable') && !refusedIn.includes('rc')).map(({ id }) => id)
  expect(relaxed).toEqual(['V02 evaluation', 'V04', 'V05', 'V08', 'V16', 'V16 scaled', 'V18', 'V21 logs', 'V22', 'V16 MCP Adapter'])
})

test('[2-14] without one of the two hosts the managed example is refused, naming key and remedy', async () => {
  for (const key of ['secrets.database.host', 'secrets.redis.host']) {
    const set = Object.fromEntries(Object.entries(CLOUD.set ?? {}).filter(([name]) => name !== key))
    const said = await refusal({ ...CLOUD, set })
    expect(said).toContain(`--set ${key}=`)
    expect(said).toContain(`--set ${key}FromSecret=true`)
  }
})

test('all faults of one render are told together', async () => {
  const said = await refusal({
    ...PRODUCTION,
    values: { global: { logLevel: 'debug' }, replayPersistence: { enabled: false }, migrations: { mode: 'init' } },
  })
  for (const key of ['global.logLevel', 'replayPersistence.enabled', 'migrations.mode']) expect(said).toContain(key)
})

/** Each fact of the regulated example, taken away, and the key that the refusal names. */
const FACTS: readonly { readonly id: string; readonly key: string; readonly value: unknown; readonly names: string }[] = [
  { id: 'R1', key: 'secrets.database.sslMode', value: 'require', names: 'secrets.database.sslMode' },
  { id: 'R2', key: 'global.digest', value: '', names: 'global.digest' },
  { id: 'R3', key: 'networkPolicy.allowOpenDns', value: true, names: 'networkPolicy.allowOpenDns' },
  { id: 'R3', key: 'networkPolicy.allowOpenHttps', value: true, names: 'allowOpenHttps' },
  { id: 'R4', key: 'networkPolicy.postgres.to', value: ['10.0.0.0/8'], names: 'networkPolicy.postgres.to' },
  { id: 'R4', key: 'networkPolicy.redis.to', value: ['192.168.0.0/16'], names: 'networkPolicy.redis.to' },
  { id: 'R9', key: 'secrets.metricsBearer.enabled', value: false, names: 'secrets.metricsBearer.enabled' },
  { id: 'R10', key: 'audit.anchors', value: [], names: 'audit.anchors' },
  { id: 'R11', key: 'secrets.database.host', value: 'postgres.example.com', names: 'postgres.example.com' },
  { id: 'R11', key: 'secrets.redis.host', value: 'redis.example.com', names: 'redis.example.com' },
]

describe('[1-05] a regulated installation', () => {
  test('renders when every fact is given', async () => {
    expect(await refusal(REGULATED)).toBeUndefined()
  })

  test.each(FACTS)('$id: is refused by the name of $key when that is taken away', async ({ key, value, names }) => {
    const said = await refusal({ ...REGULATED, values: merged(REGULATED_FACTS, treeOf(key, value)) })
    expect(said?.match(/regulated: .*/g)?.length).toBe(1)
    expect(said).toContain(names)
  })

  test('lists everything that is missing at once', async () => {
    const said = await refusal({ files: REGULATED.files ?? [] })
    for (const key of [
      'global.digest',
      'networkPolicy.postgres.to',
      'networkPolicy.redis.to',
      'audit.anchors',
      'postgres.example.com',
      'redis.example.com',
    ])
      expect(said).toContain(key)
  })
})
