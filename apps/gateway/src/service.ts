import type { RequestId } from '@caracal/core'
import {
  type EnforcementShared,
  type Listening,
  noteEarlyRefusals,
  openEnforcementPoint,
  ownRoutes,
  runEnforcementPoint,
} from '@caracal/enforcement-point'
import type { RunningService } from '@caracal/service'
import type { GatewayConfiguration } from './configuration.ts'
import { governCalls } from './govern-call.ts'
import { createGatewayServer } from './http-server.ts'
import { tlsListening } from './tls-listener.ts'
import { tlsPlace } from './tls-settings.ts'

/** What the process may hand over instead of letting the Gateway open its own; what is handed over is not closed here. */
export type GatewayShared = EnforcementShared

/**
 * Starts the Gateway. Resolves when it listens; it is ready as soon as the STS has given it its zones and revocations, and refuses
 * until then. It needs no database: configuration, revocations and credentials come from the STS.
 */
export async function startGateway(config: GatewayConfiguration, shared: GatewayShared = {}): Promise<RunningService> {
  const point = await openEnforcementPoint('gateway', config, shared)
  const { state, refusals, sourceOf, logger, callers } = point
  const serving = {
    handle: governCalls({
      // A nonce is claimed in the commit of the evidence where both are in one store.
      point: { ...point, calls: { ...point.calls, later: point.later } },
      baseDomain: config.GATEWAY_BASE_DOMAIN?.toLowerCase() ?? null,
      maxRequestBytes: config.MAX_REQUEST_BYTES,
      maxFirstByte: config.UPSTREAM_TIMEOUT / 1000,
      noteEarly: noteEarlyRefusals({ refusals, callers, knowsZone: (zone) => state.zone(zone) !== undefined, sourceOf }),
      ownRoutes: ownRoutes(point),
    }),
    onError: (error: unknown, requestId: RequestId) => logger.error({ err: error, requestId }, 'a call failed in the Gateway'),
    maxConnections: config.MAX_CONNECTIONS,
  }
  const plain: Listening = { server: createGatewayServer(serving), scheme: 'http', host: config.HOST, port: config.PORT }
  const place = tlsPlace(config)
  if (place === null) return runEnforcementPoint(point, [plain])
  const listening = tlsListening(config, config.AUTH_MODE)
  const server = createGatewayServer({ ...serving, tls: listening.options })
  listening.serve(server, point)
  const withTls: Listening = { server, scheme: 'https', host: place.host, port: place.port }
  return runEnforcementPoint(point, place.only ? [withTls] : [plain, withTls])
}
