import type { Asked } from './helm.ts'

/** The five long-lived components and where each serves. */
export const PORTS = { api: 3000, sts: 8080, gateway: 8081, audit: 9090, coordinator: 4000 } as const
export type Component = keyof typeof PORTS
export const COMPONENTS = Object.keys(PORTS) as readonly Component[]

export const PRODUCTION: Asked = { files: ['values.production.yaml'] }
export const RC: Asked = { files: ['values.rc.yaml'] }
export const DEV: Asked = { files: ['values.dev.yaml'] }

/** What the managed-Kubernetes guide sets by hand. */
export const STORE_HOSTS = { 'secrets.database.host': 'pg.internal.acme.io', 'secrets.redis.host': 'redis.internal.acme.io' }

export const CLOUD: Asked = { files: ['examples/values.cloud-managed.yaml'], set: STORE_HOSTS }

/** A value for each required key; none is one that anybody should have. */
export const PLAINTEXT = {
  databaseUrl: 'postgres://caracal:example@pg.internal.acme.io:5432/caracal?sslmode=verify-full',
  postgresPassword: 'example',
  redisUrl: 'rediss://:example@redis.internal.acme.io:6379/0',
  zoneKek: '1f'.repeat(32),
  auditHmacKey: '2e'.repeat(32),
  streamsHmacKey: '3d'.repeat(32),
  gatewayStsHmacKey: '4c'.repeat(32),
  adminToken: 'admin-token-of-an-example',
  coordinatorToken: 'coordinator-token-of-an-example',
}

export const EVALUATION: Asked = { files: ['examples/values.evaluation.yaml'], values: { secrets: { plaintext: PLAINTEXT } } }
export const PRIVATE: Asked = { files: ['examples/values.private-cluster.yaml'] }

/** What the regulated example leaves to whoever uses it. */
export const REGULATED_FACTS = {
  global: { digest: `sha256:${'0123456789abcdef'.repeat(4)}` },
  secrets: { database: { host: 'pg.internal.acme.io' }, redis: { host: 'redis.internal.acme.io' } },
  networkPolicy: { postgres: { to: ['10.20.30.40/32'] }, redis: { to: ['10.20.30.41/32'] } },
  audit: { anchors: ['file:///anchors/caracal.jsonl'] },
  services: {
    audit: {
      extraVolumes: [{ name: 'anchors', persistentVolumeClaim: { claimName: 'anchors' } }],
      extraVolumeMounts: [{ name: 'anchors', mountPath: '/anchors' }],
    },
  },
}
export const REGULATED: Asked = { files: ['examples/values.regulated.yaml'], values: REGULATED_FACTS }

/** What the MCP Adapter needs beside its switch: a server, and a way to it. */
export const MCP_ADAPTER = {
  mcpAdapter: { enabled: true, servers: [{ name: 'tools', url: 'http://tools.agents.svc:8000/mcp' }] },
  networkPolicy: {
    extraEgress: [
      {
        to: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'agents' } } }],
        ports: [8000],
        components: ['mcp-adapter'],
      },
    ],
  },
}
export const WITH_MCP_ADAPTER: Asked = { ...PRODUCTION, values: MCP_ADAPTER }

export const CLOUDS = ['eks', 'gke', 'aks'] as const

/** Every way the chart is meant to be installed, each complete. */
export const PROFILES: Readonly<Record<string, Asked>> = {
  production: PRODUCTION,
  'production-mcp-adapter': WITH_MCP_ADAPTER,
  rc: RC,
  dev: DEV,
  'cloud-managed': CLOUD,
  ...Object.fromEntries(
    CLOUDS.map((cloud) => [
      `cloud-managed-${cloud}`,
      { files: ['examples/values.cloud-managed.yaml', `examples/values.${cloud}.yaml`], set: STORE_HOSTS },
    ]),
  ),
  evaluation: EVALUATION,
  'private-cluster': PRIVATE,
  regulated: REGULATED,
}
