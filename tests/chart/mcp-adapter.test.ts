import { describe, expect, test } from 'vitest'
import { renderDifferences } from '../../apps/cli/src/rollout/render-gate.ts'
import { CALL_GRAPH, calls, DOORS, OTHERS } from './call-graph.ts'
import { type KubeObject, render, template } from './helm.ts'
import { allowedCalls } from './network-matrix.ts'
import { MCP_ADAPTER, PRODUCTION, PROFILES, WITH_MCP_ADAPTER } from './profiles.ts'
import { at, listAt, merged, textAt } from './tree.ts'

const withAdapter = (values: Readonly<Record<string, unknown>>) => render({ ...PRODUCTION, values: merged(MCP_ADAPTER, values) })
const envOf = (workload: unknown): Readonly<Record<string, string>> =>
  Object.fromEntries(
    listAt(workload, 'spec.template.spec.containers.0.env').map((entry) => [textAt(entry, 'name'), textAt(entry, 'value')]),
  )

test('nothing of the MCP Adapter is rendered unless it is asked for, in any profile', async () => {
  for (const [name, asked] of Object.entries(PROFILES)) {
    if (asked === WITH_MCP_ADAPTER) continue
    expect([name, (await render(asked)).list().filter((object) => object.includes('mcp'))]).toEqual([name, []])
  }
})

describe('switched on', () => {
  test('it has everything that the Gateway has, and adds nothing else', async () => {
    const [before, after] = await Promise.all([render(PRODUCTION), render(WITH_MCP_ADAPTER)])
    const added = after.list().filter((name) => !before.list().includes(name))
    const gateway = before.list().filter((name) => /\/caracal-gateway(-headless)?$/.test(name))
    const dashboard = 'ConfigMap/caracal-dashboard-mcp-adapter'
    expect(added).toEqual([dashboard, ...gateway.map((name) => name.replace('gateway', 'mcp-adapter'))].toSorted())
    expect(added).toContain('StatefulSet/caracal-mcp-adapter')
  })

  test('its replicas keep evidence on claims of their own, and roll like the others', async () => {
    const { spec } = (await render(WITH_MCP_ADAPTER)).workload('mcp-adapter')
    const gateway = (await render(WITH_MCP_ADAPTER)).workload('gateway').spec
    for (const path of ['persistentVolumeClaimRetentionPolicy', 'updateStrategy', 'podManagementPolicy', 'minReadySeconds'])
      expect(at(spec, path)).toEqual(at(gateway, path))
    const container = 'template.spec.containers.0'
    for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe'])
      expect(at(spec, `${container}.${probe}`)).toEqual(at(gateway, `${container}.${probe}`))
    expect(listAt(spec, 'volumeClaimTemplates').map((claim) => textAt(claim, 'metadata.name'))).toEqual(['replay'])
    const without = await render({ files: ['values.rc.yaml'], values: merged(MCP_ADAPTER, { replayPersistence: { enabled: false } }) })
    expect(without.has('Deployment', 'caracal-mcp-adapter')).toBe(true)
  })

  test('it is told its servers, and who it is to clients: the host that it is exposed under, unless a URL is set', async () => {
    const servers = [
      { name: 'tools', url: 'http://tools.agents.svc:8000/mcp' },
      { name: 'files', url: 'https://files.acme.io/mcp' },
    ]
    const exposed = {
      networkPolicy: { ingressController: [{ podSelector: {} }] },
      mcpAdapter: { servers, serverTimeout: '7s', ingress: { enabled: true, host: 'mcp.acme.io', tlsSecretName: 'mcp-tls' } },
    }
    expect(envOf((await withAdapter(exposed)).workload('mcp-adapter'))).toMatchObject({
      MCP_SERVERS: 'tools=http://tools.agents.svc:8000/mcp,files=https://files.acme.io/mcp',
      MCP_SERVER_TIMEOUT: '7s',
      MCP_PUBLIC_URL: 'https://mcp.acme.io',
      STS_URL: 'http://caracal-sts.caracal.svc:8080',
      SPOOL_DIR: '/var/lib/caracal/spool',
    })
    const named = await withAdapter(merged(exposed, { mcpAdapter: { publicUrl: 'https://tools.acme.io/' } }))
    expect(envOf(named.workload('mcp-adapter'))).toMatchObject({ MCP_PUBLIC_URL: 'https://tools.acme.io' })
    expect(envOf((await render(WITH_MCP_ADAPTER)).workload('mcp-adapter'))).not.toHaveProperty('MCP_PUBLIC_URL')
  })

  test('its list of hosts is its own, and the canary’s upstream is not in it', async () => {
    const objects = await withAdapter({
      mcpAdapter: { upstreamAllowlist: ['tools.agents.svc'] },
      services: { gateway: { upstreamAllowlist: ['api.acme.io'] } },
    })
    expect(envOf(objects.workload('mcp-adapter')).UPSTREAM_HOST_ALLOWLIST).toBe('tools.agents.svc')
    expect(envOf(objects.workload('gateway')).UPSTREAM_HOST_ALLOWLIST).toBe('api.acme.io,caracal-canary.caracal.svc')
  })

  test('an Ingress or a route lets the protocol, its metadata and readiness in, and nothing else', async () => {
    const paths = ['/mcp', '/.well-known', '/health', '/ready']
    const ingress = (
      await withAdapter({
        networkPolicy: { ingressController: [{ podSelector: {} }] },
        mcpAdapter: { ingress: { enabled: true, host: 'mcp.acme.io', tlsSecretName: 'mcp-tls', className: 'nginx' } },
      })
    ).one('Ingress', 'caracal-mcp-adapter')
    expect(listAt(ingress, 'spec.rules.0.http.paths').map((path) => textAt(path, 'path'))).toEqual(paths)
    expect(at(ingress, 'spec.tls')).toEqual([{ hosts: ['mcp.acme.io'], secretName: 'mcp-tls' }])
    const route = (
      await withAdapter({
        networkPolicy: { ingressController: [{ podSelector: {} }] },
        mcpAdapter: { httpRoute: { enabled: true, hostname: 'mcp.acme.io', parentRefs: [{ name: 'edge' }] } },
      })
    ).one('HTTPRoute', 'caracal-mcp-adapter')
    expect(listAt(route, 'spec.rules.0.matches').map((match) => textAt(match, 'path.value'))).toEqual(paths)
    expect(listAt(route, 'spec.rules.0.backendRefs')).toEqual([{ name: 'caracal-mcp-adapter', port: 8080 }])
  })

  test('a login of its own is mounted under its own name where Postgres carries the streams', async () => {
    const objects = await render({
      files: ['values.rc.yaml'],
      values: merged(MCP_ADAPTER, { streams: { driver: 'postgres' }, secrets: { database: { perService: true } } }),
    })
    expect(JSON.stringify(objects.workload('mcp-adapter'))).toContain('"key":"mcpAdapterDatabaseUrl"')
  })

  test.each([
    [{ name: 'Tools', url: 'http://a.svc/mcp' }, 'servers/0/name'],
    [{ name: 'tools', url: 'stdio:node server.js' }, 'servers/0/url'],
    [{ name: 'tools', url: 'http://a.svc/mcp,other=http://b.svc/mcp' }, 'servers/0/url'],
    [{ name: 'tools' }, 'servers/0'],
    [{ name: 'tools', url: 'http://a.svc/mcp', token: 'x' }, 'servers/0'],
  ])('the schema refuses the server %j', async (server, where) => {
    const { code, stderr } = await template({ ...PRODUCTION, values: merged(MCP_ADAPTER, { mcpAdapter: { servers: [server] } }) })
    expect(code).not.toBe(0)
    expect(stderr.replaceAll('.', '/')).toContain(where)
  })
})

describe('its policies', () => {
  /** Stores by their own address, so that a cell is one peer. */
  const stores = { postgres: { to: ['10.0.5.5/32'] }, redis: { to: ['10.0.5.6/32'] } }
  const tools = { name: 'tools', namespace: 'agents', labels: { app: 'tools' } }
  const doors = [...DOORS, { protocol: 'TCP', port: 8000 } as const]
  const graph = [
    ...CALL_GRAPH,
    ...calls(['mcp-adapter'], 'sts', 8080),
    ...calls(['mcp-adapter'], 'redis', 6379),
    ...calls(['mcp-adapter'], 'dns', 53, '53/udp'),
    ...calls(['mcp-adapter'], 'tools', 8000),
    ...calls(['prometheus', 'canary'], 'mcp-adapter', 9464),
  ].toSorted()
  const allowed = async (values: Readonly<Record<string, unknown>>) =>
    allowedCalls(await withAdapter(merged({ networkPolicy: stores }, values)), [...OTHERS, tools], doors)

  test('let it reach the STS, Redis, names and its servers, and nobody reach it but the scrape', async () => {
    expect(await allowed({})).toEqual(graph)
  })

  const neighbour = [{ podSelector: { matchLabels: { app: 'neighbour' } } }]
  const controller = [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'ingress-nginx' } } }]
  const host = { host: 'mcp.acme.io', tlsSecretName: 'mcp-tls' }
  test.each([
    ['clients reach it', { networkPolicy: { clients: neighbour } }, calls(['neighbour'], 'mcp-adapter', 8080)],
    ['a controller does not reach it unless it is exposed', { networkPolicy: { ingressController: controller } }, []],
    [
      'a controller reaches it when it is exposed',
      { networkPolicy: { ingressController: controller }, mcpAdapter: { ingress: { enabled: true, ...host } } },
      calls(['controller'], 'mcp-adapter', 8080),
    ],
    [
      'the ranges of its load balancer reach it',
      { mcpAdapter: { loadBalancer: { enabled: true, sourceRanges: ['192.168.7.0/24'] } } },
      calls(['private'], 'mcp-adapter', 8080),
    ],
  ])('%s', async (_, values, opened) => {
    const added = (await allowed(values)).filter((call) => !graph.includes(call))
    expect(added.filter((call) => call.includes('mcp-adapter'))).toEqual(opened)
  })
})

test('the check of a rollout holds it against what the process takes, and misses it nowhere else', async () => {
  expect(renderDifferences([...(await render(PRODUCTION)).all])).toEqual([])
  const objects = [...(await render(WITH_MCP_ADAPTER)).all]
  expect(renderDifferences(objects)).toEqual([])
  const swapped: KubeObject[] = JSON.parse(JSON.stringify(objects).replace('["serve","mcp-adapter"]', '["serve","gateway"]'))
  expect(renderDifferences(swapped)).toEqual([expect.stringContaining('mcp-adapter runs serve gateway, not serve mcp-adapter')])
})

test('budgets: what must be counted is told to both enforcement points, how charges are kept to the STS', async () => {
  const objects = await withAdapter({
    budgets: {
      required: true,
      chargeExpiration: '2m',
      chargeMax: '1h',
      sweepInterval: '30s',
      sweepBatch: 50,
      slicePercent: 0,
      sliceTtl: '1m',
      usageRetention: '30d',
    },
  })
  for (const component of ['gateway', 'mcp-adapter'] as const)
    expect(envOf(objects.workload(component))).toMatchObject({
      BUDGET_REQUIRED: 'true',
      PROVISIONAL_CHARGE_SLICE: '0',
      PROVISIONAL_CHARGE_SLICE_TTL: '1m',
    })
  expect(envOf(objects.workload('sts'))).toMatchObject({
    PROVISIONAL_CHARGE_EXPIRATION: '2m',
    PROVISIONAL_CHARGE_MAX: '1h',
    PROVISIONAL_CHARGE_SWEEP_INTERVAL: '30s',
    PROVISIONAL_CHARGE_SWEEP_BATCH: '50',
    USAGE_RETENTION: '30d',
  })
  for (const component of ['api', 'audit', 'coordinator'] as const)
    expect(Object.keys(envOf(objects.workload(component))).filter((name) => /BUDGET|CHARGE/.test(name))).toEqual([])
})
