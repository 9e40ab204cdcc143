import type { Server } from 'node:http'
import {
  type Address,
  addressOf,
  gracefulStop,
  listen,
  type MetricsListener,
  observeConnections,
  type RunningService,
  type StopReport,
  startMetricsListener,
  validNow,
} from '@caracal/service'
import type { EnforcementPoint } from './open-enforcement-point.ts'

/**
 * Listens with the role's server and the metrics listener. Resolves when both listen and the STS has given its zones and
 * revocations or has been asked for them; until it has, calls are refused. Rejects when a port is taken.
 */
export async function runEnforcementPoint(point: EnforcementPoint, server: Server): Promise<RunningService> {
  const { role, config, logger, metrics, probes } = point
  observeConnections(metrics, server)
  // Whoever keeps a connection open goes to another replica with the next call, before this one closes.
  server.prependListener('request', (_request, response) => {
    if (probes.draining()) response.shouldKeepAlive = false
  })
  const metricsListener = await startMetricsListener({
    service: role,
    host: config.HOST,
    port: config.METRICS_PORT,
    bearer: () => validNow(config.METRICS_BEARER),
    metrics,
    probes,
    logger,
  })
  try {
    await listen(server, config.HOST, config.PORT)
    await Promise.all([point.follower.loaded, point.revocations.joined])
  } catch (error) {
    server.close()
    await metricsListener.close()
    throw error
  }
  await probes.refresh()
  probes.started()
  const address = addressOf(server, config.HOST)
  logger.info({ address: address.url, metrics: metricsListener.address.url }, 'listening')
  return running(point, server, address, metricsListener)
}

function running(point: EnforcementPoint, server: Server, address: Address, metricsListener: MetricsListener): RunningService {
  const { logger, probes } = point
  let stopping: Promise<StopReport> | undefined
  return {
    name: point.role,
    address,
    metricsAddress: metricsListener.address,
    probes,
    routes: () => [],
    stop() {
      stopping ??= gracefulStop({
        logger,
        unready: probes.drain,
        drainDelayMs: point.config.DRAIN_DELAY,
        servers: [server],
        hooks: point.stops,
        async last() {
          point.live.close()
          probes.close()
          await metricsListener.close()
          point.metrics.close()
        },
      })
      return stopping
    },
  }
}
