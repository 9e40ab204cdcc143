import { refuse } from '@caracal/core'
import {
  type EnforcementShared,
  type Handle,
  noteEarlyRefusals,
  openEnforcementPoint,
  runEnforcementPoint,
} from '@caracal/enforcement-point'
import { answerProbe, type RunningService } from '@caracal/service'
import type { GatewayConfiguration } from './configuration.ts'
import { governCalls } from './govern-call.ts'
import { createGatewayServer, sendRefusal } from './http-server.ts'

/** What the process may hand over instead of letting the Gateway open its own; what is handed over is not closed here. */
export type GatewayShared = EnforcementShared

/**
 * Starts the Gateway. Resolves when it listens; it is ready as soon as the STS has given it its zones and revocations, and refuses
 * until then. It needs no database: configuration, revocations and credentials come from the STS.
 */
export async function startGateway(config: GatewayConfiguration, shared: GatewayShared = {}): Promise<RunningService> {
  const point = await openEnforcementPoint('gateway', config, shared)
  const { state, refusals, sourceOf, probes, logger } = point
  const server = createGatewayServer({
    handle: governCalls({
      point,
      baseDomain: config.GATEWAY_BASE_DOMAIN?.toLowerCase() ?? null,
      maxRequestBytes: config.MAX_REQUEST_BYTES,
      noteEarly: noteEarlyRefusals({ refusals, knowsZone: (zone) => state.zone(zone) !== undefined, sourceOf }),
      ownRoutes: ownRoutes(probes, point.version),
    }),
    onError: (error, requestId) => logger.error({ err: error, requestId }, 'a call failed in the Gateway'),
    maxConnections: config.MAX_CONNECTIONS,
  })
  return runEnforcementPoint(point, server)
}

/** Requests that name no resource: probes and version; everything else is not here. */
function ownRoutes(probes: Parameters<typeof answerProbe>[1], version: string): Handle {
  return async (request, response, requestId) => {
    const path = (request.url ?? '').split('?')[0] ?? ''
    if (request.method !== 'GET' && request.method !== 'HEAD') return sendRefusal(response, refuse('not_found'), requestId)
    const found =
      path === '/version'
        ? { status: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ service: 'gateway', version }) }
        : answerProbe(path, probes)
    if (found === undefined) return sendRefusal(response, refuse('not_found'), requestId)
    response.writeHead(found.status, { ...found.headers, 'x-request-id': requestId, 'content-length': Buffer.byteLength(found.body) })
    response.end(request.method === 'HEAD' ? undefined : found.body)
  }
}
