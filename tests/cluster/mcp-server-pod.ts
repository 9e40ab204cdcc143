import { join } from 'node:path'
import { type Actor, actorsIn } from './connection-matrix.ts'
import { IMAGE } from './images.ts'
import { apply, kubectl } from './installation.ts'
import { repository } from './place.ts'

/** Agents and their tools live in a namespace that the chart knows nothing of. */
export const AGENTS = 'agents'
/** Where the server listens in its pod, which is what a policy names, and the port of its Service, which is what a URL names. */
export const MCP_POD_PORT = 3001
const SERVICE_PORT = 8000
export const MCP_URL = `http://tools.${AGENTS}.svc:${SERVICE_PORT}/mcp`

const NODE = '/caracal/node_modules/node/bin/node'
const LABELS = { app: 'tools' }

/** The reference server of the MCP project behind a Service; an agent runs in the same pod. Their packages are the work tree's. */
export function startMcpServer(): void {
  apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: AGENTS } })
  apply({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'tools', namespace: AGENTS },
    spec: { selector: LABELS, ports: [{ port: SERVICE_PORT, targetPort: MCP_POD_PORT }] },
  })
  apply({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'tools', namespace: AGENTS, labels: LABELS },
    spec: {
      terminationGracePeriodSeconds: 1,
      automountServiceAccountToken: false,
      containers: [
        {
          name: 'server',
          image: `${IMAGE}:dev`,
          workingDir: '/packages',
          command: [NODE, 'node_modules/@modelcontextprotocol/server-everything/dist/index.js', 'streamableHttp'],
          env: [{ name: 'PORT', value: String(MCP_POD_PORT) }],
          readinessProbe: { tcpSocket: { port: MCP_POD_PORT }, periodSeconds: 1 },
          volumeMounts: [{ name: 'packages', mountPath: '/packages/node_modules', readOnly: true }],
          resources: { requests: { cpu: '1m', memory: '64Mi' } },
        },
      ],
      volumes: [{ name: 'packages', hostPath: { path: join(repository, 'node_modules'), type: 'Directory' } }],
    },
  })
  kubectl('-n', AGENTS, 'wait', '--for=condition=Ready', 'pod/tools', '--timeout=120s')
}

export function stopMcpServer(): void {
  kubectl('delete', 'namespace', AGENTS, '--ignore-not-found', '--wait', '--timeout=120s')
}

/** Runs a module in the agent's pod and returns what it printed; `args` are its arguments. */
export const inAgentsPod = (source: string, ...args: readonly string[]): string =>
  kubectl('-n', AGENTS, 'exec', 'tools', '--', NODE, '--input-type=module', '--eval', source, ...args)

/** The pod as the matrix of connections knows it. */
export const mcpServerActor = (): readonly Actor[] =>
  actorsIn(AGENTS, (labels) => (labels.app === LABELS.app ? 'tools' : undefined)).map((actor) => ({
    ...actor,
    doors: [MCP_POD_PORT, 443, 8080].map((port) => ({ protocol: 'TCP', port })),
  }))
