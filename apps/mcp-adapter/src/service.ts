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
import { type Check, createLogger, mayScrape, type RunningService, secretsOf, validNow } from '@caracal/service'
import type { McpConfiguration } from './configuration.ts'
import { governMessages } from './govern-messages.ts'
import { mcpMetrics } from './mcp-metrics.ts'
import { readMcpServers } from './mcp-servers.ts'
import { answerPlain, isPlainPath } from './plain-calls.ts'
import { baseUrlOf, resourceMetadata, serverOfMetadata } from './resource-metadata.ts'
import type { McpDesk } from './serve-server.ts'
import { pickServer, type ServedServer, servedByBridge, servedByUrl } from './served-server.ts'
import { ServerClients } from './server-clients.ts'
import { sessionIds } from './session-id.ts'
import { type StdioBridge, startBridge } from './stdio-bridge.ts'
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
  const bridges: StdioBridge[] = []
  const logger = shared.logger ?? createLogger({ name: ROLE, level: config.LOG_LEVEL, secrets: () => secretsOf(config) })
  for (const server of configured.values()) {
    if (server.kind === 'http') servers.set(server.name, servedByUrl(server))
    else {
      const bridge = await startBridge(server, logger)
      bridges.push(bridge)
      servers.set(server.name, servedByBridge(server.name, bridge))
    }
  }
  const watch = watchServers([...servers.values()])
  const checks: Check[] = watch.servers.map(({ name, isUp }) => ({ name: `mcp_server:${name}`, kind: 'warning', check: isUp }))
  const point = await openEnforcementPoint(ROLE, config, { ...shared, logger }, checks, config.MCP_AUTH_MODE ?? config.AUTH_MODE)
  point.onStop('mcp servers', async () => {
    watch.stop()
    await Promise.all(bridges.map((bridge) => bridge.stop()))
  })
  const { state, refusals, sourceOf, callers } = point
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
  const clients = new ServerClients(point, config.MCP_SERVER_TIMEOUT)
  point.onStop('mcp clients', () => clients.close())
  const own = ownRoutes(point, {
    '/stats': (request) =>
      mayScrape(request.headers.authorization, validNow(config.METRICS_BEARER))
        ? jsonAnswer(statsOf(desk, watch))
        : refuse('unauthenticated'),
  })
  await watch.look()
  const server = createCallServer({
    service: ROLE,
    handle: (request, response, requestId) => handle({ desk, own, clients }, request, response, requestId),
    onError: (error, requestId) => logger.error({ err: error, requestId }, 'a call failed in the MCP Adapter'),
    maxConnections: config.MAX_CONNECTIONS,
  })
  return runEnforcementPoint(point, server)
}

async function handle(
  { desk, own, clients }: { readonly desk: McpDesk; readonly own: Handle; readonly clients: ServerClients },
  request: IncomingMessage,
  response: ServerResponse,
  requestId: RequestId,
): Promise<void> {
  const path = (request.url ?? '').split('?')[0] ?? ''
  const described = serverOfMetadata(path)
  if (described !== null && request.method === 'GET') {
    if (!pickServer(desk.servers, described).ok) return answerRefusal(response, refuse('not_found'), { service: ROLE, requestId })
    const { body, headers } = jsonAnswer(resourceMetadata(baseUrlOf(request, desk.publicUrl), described, desk.point.state))
    response.writeHead(200, { ...headers, 'access-control-allow-origin': '*', 'content-length': Buffer.byteLength(body) })
    response.end(body)
    return
  }
  if (isPlainPath(path)) return answerPlain(desk, clients, path, request, response, requestId)
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
