import type { IncomingMessage, ServerResponse } from 'node:http'
import { type RequestId, refuse } from '@caracal/core'
import {
  answerRefusal,
  createCallServer,
  type EnforcementShared,
  type Handle,
  jsonAnswer,
  noteEarlyRefusals,
  openEnforcementPoint,
  ownRoutes,
  runEnforcementPoint,
} from '@caracal/enforcement-point'
import { type Check, mayScrape, type RunningService, validNow } from '@caracal/service'
import type { McpConfiguration } from './configuration.ts'
import { governMessages } from './govern-messages.ts'
import { mcpMetrics } from './mcp-metrics.ts'
import { readMcpServers } from './mcp-servers.ts'
import { baseUrlOf, resourceMetadata, serverOfMetadata } from './resource-metadata.ts'
import type { McpDesk } from './serve-server.ts'
import { pickServer, type ServedServer, servedByUrl } from './served-server.ts'
import { sessionIds } from './session-id.ts'
import { watchServers } from './watch-servers.ts'

/** What the process may hand over instead of letting the adapter open its own; what is handed over is not closed here. */
export type McpShared = EnforcementShared

const ROLE = 'mcp-adapter'

/**
 * Starts the MCP Adapter. Resolves when it listens; it is ready as soon as the STS has given it its zones and revocations, and refuses
 * until then. A server behind it that is dead degrades `/health` and fails its own calls, nothing else (P-092).
 */
export async function startMcpAdapter(config: McpConfiguration, shared: McpShared = {}): Promise<RunningService> {
  const { servers: configured } = readMcpServers(config.MCP_SERVERS, config.CARACAL_MODE)
  const servers = new Map<string, ServedServer>()
  for (const server of configured.values()) if (server.kind === 'http') servers.set(server.name, servedByUrl(server))
  const watch = watchServers([...servers.values()])
  const checks: Check[] = watch.servers.map(({ name, isUp }) => ({ name: `mcp_server:${name}`, kind: 'warning', check: isUp }))
  const point = await openEnforcementPoint(ROLE, config, shared, checks, config.MCP_AUTH_MODE ?? config.AUTH_MODE)
  point.onStop('mcp servers', () => watch.stop())
  const { state, refusals, sourceOf, callers, logger } = point
  const desk: McpDesk = {
    point,
    metrics: mcpMetrics(point.metrics, watch.servers),
    sessions: sessionIds(config.GATEWAY_STS_HMAC_KEY),
    servers,
    publicUrl: config.MCP_PUBLIC_URL,
    allowedOrigins: new Set(config.MCP_ALLOWED_ORIGINS),
    timeoutMs: config.MCP_SERVER_TIMEOUT,
    noteEarly: noteEarlyRefusals({ refusals, knowsZone: (zone) => state.zone(zone) !== undefined, callers, sourceOf }),
  }
  const own = ownRoutes(point, {
    '/stats': (request) =>
      mayScrape(request.headers.authorization, validNow(config.METRICS_BEARER))
        ? jsonAnswer(statsOf(desk, watch))
        : refuse('unauthenticated'),
  })
  await watch.look()
  const server = createCallServer({
    service: ROLE,
    handle: (request, response, requestId) => handle(desk, own, request, response, requestId),
    onError: (error, requestId) => logger.error({ err: error, requestId }, 'a call failed in the MCP Adapter'),
    maxConnections: config.MAX_CONNECTIONS,
  })
  return runEnforcementPoint(point, server)
}

async function handle(desk: McpDesk, own: Handle, request: IncomingMessage, response: ServerResponse, requestId: RequestId): Promise<void> {
  const path = (request.url ?? '').split('?')[0] ?? ''
  const described = serverOfMetadata(path)
  if (described !== null && request.method === 'GET') {
    if (!pickServer(desk.servers, described).ok) return answerRefusal(response, refuse('not_found'), { service: ROLE, requestId })
    const { body, headers } = jsonAnswer(resourceMetadata(baseUrlOf(request, desk.publicUrl), described, desk.point.state))
    response.writeHead(200, { ...headers, 'access-control-allow-origin': '*', 'content-length': Buffer.byteLength(body) })
    response.end(body)
    return
  }
  const name = /^\/mcp\/([^/]+)\/?$/.exec(path)?.[1]
  if (name === undefined) return own(request, response, requestId)
  const server = pickServer(desk.servers, name)
  if (!server.ok) return answerRefusal(response, server, { service: ROLE, requestId })
  await governMessages(desk, server.value, request, response, requestId)
}

function statsOf({ metrics, point }: McpDesk, watch: ReturnType<typeof watchServers>): unknown {
  return {
    service: ROLE,
    version: point.version,
    live: point.live.size,
    servers: watch.servers.map(({ name, isUp }) => ({ name, up: isUp(), messages: metrics.counted(name) })),
  }
}
