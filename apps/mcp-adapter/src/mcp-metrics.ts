import type { Metrics } from '@caracal/service'
import type { Kind } from './asked-operation.ts'

export type McpOutcome = 'allow' | 'deny' | 'hold' | 'error'

/** Messages by server, kind and outcome; and the same numbers since the start, for `/stats`. */
export type McpMetrics = {
  readonly count: (server: string, kind: Kind, outcome: McpOutcome) => void
  readonly counted: (server: string) => Readonly<Record<McpOutcome, number>>
}

const OUTCOMES: readonly McpOutcome[] = ['allow', 'deny', 'hold', 'error']

/** Families that only the MCP Adapter has. `isUp`: what the last look at a server found. */
export function mcpMetrics(metrics: Metrics, servers: readonly { readonly name: string; readonly isUp: () => boolean }[]): McpMetrics {
  const requests = metrics.counter('caracal_mcp_requests_total', 'MCP messages by server, kind and how they were decided.', [
    'server',
    'kind',
    'outcome',
  ])
  metrics.gauge('caracal_mcp_server_up', '1 while an MCP server takes connections.', ['server'], (own) => {
    for (const { name, isUp } of servers) own.set({ server: name }, isUp() ? 1 : 0)
  })
  const sums = new Map<string, Record<McpOutcome, number>>()
  const none = (): Record<McpOutcome, number> => ({ allow: 0, deny: 0, hold: 0, error: 0 })
  for (const { name } of servers) for (const outcome of OUTCOMES) requests.inc({ server: name, kind: 'tool', outcome }, 0)
  return {
    count(server, kind, outcome) {
      requests.inc({ server, kind, outcome })
      const sum = sums.get(server) ?? none()
      sum[outcome] += 1
      sums.set(server, sum)
    },
    counted: (server) => sums.get(server) ?? none(),
  }
}
