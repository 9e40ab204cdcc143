import type { Database } from '@caracal/postgres'
import type { Check, Environment, Logger, OtherMetrics, RunningService } from '@caracal/service'
import type { Streams } from '@caracal/streams'

/** What roles in one process share instead of opening their own. */
export type Shared = {
  readonly database?: Database
  readonly streams?: Streams
  readonly logger?: Logger
  /** Metrics that the one scrape of the process answers with too. */
  readonly others?: OtherMetrics
  /** What the probes of a role at the edge look at beside its own. */
  readonly checks?: readonly Check[]
}

type RoleStart = (environment: Environment, shared?: Shared) => Promise<RunningService>

/**
 * Every role by the name that `caracal serve` takes, each configured by an environment and nothing else. Its code is loaded when it is
 * started: who serves one does not wait for the others.
 */
export const ROLES: Readonly<Record<Role, RoleStart>> = {
  sts: async (environment, shared) => {
    const { startSts, stsConfiguration } = await import('@caracal/sts')
    return await startSts(stsConfiguration.parse(environment), shared)
  },
  api: async (environment, shared) => {
    const { apiConfiguration, startApi } = await import('@caracal/api')
    return await startApi(apiConfiguration.parse(environment), shared)
  },
  audit: async (environment, shared) => {
    const { auditConfiguration, startAudit } = await import('@caracal/audit')
    return await startAudit(auditConfiguration.parse(environment), shared)
  },
  coordinator: async (environment, shared) => {
    const { coordinatorConfiguration, startCoordinator } = await import('@caracal/coordinator')
    return await startCoordinator(coordinatorConfiguration.parse(environment), shared)
  },
  gateway: async (environment, shared) => {
    const { gatewayConfiguration, startGateway } = await import('@caracal/gateway')
    return await startGateway(gatewayConfiguration.parse(environment), shared)
  },
  'mcp-adapter': async (environment, shared) => {
    const { mcpConfiguration, startMcpAdapter } = await import('@caracal/mcp-adapter')
    return await startMcpAdapter(mcpConfiguration.parse(environment), shared)
  },
}

export type Role = 'api' | 'sts' | 'gateway' | 'mcp-adapter' | 'audit' | 'coordinator'

/** Order of starting: who is asked before who asks. Stopping goes the other way. The MCP Adapter is there only where there are MCP servers. */
export const START_ORDER = ['sts', 'api', 'audit', 'coordinator', 'gateway'] as const satisfies readonly Role[]

/** Ports of the roles on one machine, and of their metrics (3-wire: metrics stand on a port of their own). */
export const PORTS: Readonly<Record<Role, { readonly port: number; readonly metrics: number }>> = {
  api: { port: 3000, metrics: 9464 },
  sts: { port: 8080, metrics: 9465 },
  gateway: { port: 8081, metrics: 9466 },
  audit: { port: 9090, metrics: 9467 },
  coordinator: { port: 4000, metrics: 9468 },
  'mcp-adapter': { port: 8082, metrics: 9469 },
}

/** Port of the notes API that the quick start and the canary call. */
export const CANARY_PORT = 8090
