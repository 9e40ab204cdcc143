import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, inject, test } from 'vitest'
import { type Asked, CHART, renderedText, run } from './helm.ts'
import { schemaLocation } from './json-schemas.ts'
import { DEV, MCP_ADAPTER, PRODUCTION, PROFILES, RC } from './profiles.ts'
import { at, listAt } from './tree.ts'

/** The oldest Kubernetes that the chart supports, and the newest. */
const VERSIONS = ['v1.30.14', 'v1.35.4'] as const

/** What no profile turns on by itself. */
const MORE: Readonly<Record<string, Asked>> = {
  'dev with policies': { ...DEV, values: { networkPolicy: { enabled: true } } },
  'rc without replay volumes': { ...RC, values: { replayPersistence: { enabled: false } } },
  'production, everything exposed': {
    ...PRODUCTION,
    values: {
      secrets: { metricsBearer: { enabled: true }, rotation: ['zoneKek', 'stsAdminToken'] },
      global: {
        caBundle: { secretName: 'ca' },
        imagePullSecrets: ['registry'],
        otelExporterOtlpEndpoint: 'http://otel.observability.svc:4317',
      },
      networkPolicy: { ingressController: [{ podSelector: {} }], allowOpenDns: true, allowOpenHttps: true, dnsEgress: ['10.0.0.10/32'] },
      ingress: Object.fromEntries(
        ['api', 'gateway', 'sts'].map((name) => [
          name,
          { enabled: true, host: `${name}.acme.io`, tlsSecretName: `${name}-tls`, className: 'nginx' },
        ]),
      ),
      services: {
        gateway: { loadBalancer: { enabled: true, sourceRanges: ['10.0.0.0/8'], class: 'internal' }, baseDomain: 'agents.acme.io' },
      },
      mcpAdapter: {
        ...MCP_ADAPTER.mcpAdapter,
        ingress: { enabled: true, host: 'mcp.acme.io', tlsSecretName: 'mcp-tls', className: 'nginx' },
        loadBalancer: { enabled: true, sourceRanges: ['10.0.0.0/8'] },
      },
    },
  },
}

async function faults(text: string, kubernetes: string): Promise<{ readonly count: number; readonly faults: readonly unknown[] }> {
  const args = [
    '-strict',
    '-verbose',
    '-output',
    'json',
    '-kubernetes-version',
    kubernetes.slice(1),
    '-schema-location',
    schemaLocation(kubernetes),
  ]
  const { stdout, stderr } = await run(inject('kubeconform'), [...args, '-'], text)
  if (stdout === '') throw new Error(stderr)
  const answer: unknown = JSON.parse(stdout)
  const resources = listAt(answer, 'resources')
  return { count: resources.length, faults: resources.filter((resource) => at(resource, 'status') !== 'statusValid') }
}

describe.each(VERSIONS)('Kubernetes %s', (kubernetes) => {
  test.each(Object.entries({ ...PROFILES, ...MORE }))('[0-20] [2-07] accepts every object of %s, strictly', async (_name, asked) => {
    const answer = await faults(await renderedText(asked), kubernetes)
    expect(answer.faults).toEqual([])
    expect(answer.count).toBeGreaterThan(10)
  })

  test('a field that does not exist, a wrong type and an unknown kind are faults', async () => {
    const service = (spec: object) => JSON.stringify({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'a' }, spec })
    expect((await faults(service({ ports: [{ port: 80 }] }), kubernetes)).faults).toEqual([])
    expect((await faults(service({ ports: [{ port: 80, colour: 'red' }] }), kubernetes)).faults).toHaveLength(1)
    expect((await faults(service({ ports: [{ port: 'eighty' }] }), kubernetes)).faults).toHaveLength(1)
    expect((await faults(JSON.stringify({ apiVersion: 'v1', kind: 'Servic', metadata: { name: 'a' } }), kubernetes)).faults).toHaveLength(1)
  })
})

test('[2-03] the stores and the ExternalSecret are what External Secrets takes', async () => {
  const folder = join(CHART, 'examples/external-secrets')
  const files = readdirSync(folder)
  expect(files.toSorted()).toEqual([
    'externalsecret-runtime-dashed.yaml',
    'externalsecret-runtime.yaml',
    'secretstore-aws.yaml',
    'secretstore-azure.yaml',
    'secretstore-gcp.yaml',
  ])
  for (const file of files) expect([file, (await faults(readFileSync(join(folder, file), 'utf8'), 'v1.35.4')).faults]).toEqual([file, []])
})
