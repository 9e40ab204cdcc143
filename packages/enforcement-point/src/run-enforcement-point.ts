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

/** A listener and where it listens. */
export type Listening = { readonly server: Server; readonly scheme: 'http' | 'https'; readonly host: string; readonly port: number }

/**
 * Listens with the role's server, or several of them, and the metrics listener. Resolves when both listen and the STS has given its zones and
 * revocations or has been asked for them; until it has, calls are refused. Rejects when a port is taken.
 */
export async function runEnforcementPoint(
  point: EnforcementPoint,
  server: Server | readonly [Listening, ...Listening[]],
): Promise<RunningService> {
  const { role, config, logger, metrics, probes } = point
  const all: readonly [Listening, ...Listening[]] =
    'listen' in server ? [{ server, scheme: 'http', host: config.HOST, port: config.PORT }] : server
  const servers = all.map((one) => one.server)
  observeConnections(metrics, ...servers)
  // Whoever keeps a connection open goes to another replica with the next call, before this one closes.
  for (const one of servers) {
    one.prependListener('request', (_request, response) => {
      if (probes.draining()) response.shouldKeepAlive = false
    })
  }
  // Named as their own port, metrics stand on the main one (`ownRoutes`).
  const metricsListener = isOnMainPort(point)
    ? null
    : await startMetricsListener({
        service: role,
        host: config.HOST,
        port: config.METRICS_PORT,
        bearer: () => validNow(config.METRICS_BEARER),
        metrics,
        probes,
        logger,
      })
  try {
    for (const { server: one, host, port } of all) await listen(one, host, port)
    await Promise.all([point.follower.loaded, point.revocations.joined])
  } catch (error) {
    for (const one of servers) one.close()
    await metricsListener?.close()
    throw error
  }
  await probes.refresh()
  probes.started()
  const [address, ...further] = addressesOf(all)
  logger.info({ address: address.url, metrics: (metricsListener?.address ?? address).url }, 'listening')
  for (const one of further) logger.info({ address: one.url }, 'listening')
  return running(point, servers, address, metricsListener)
}

/** Whether the metrics are asked for at the port of the calls: said so by naming it twice. */
export function isOnMainPort({ config }: Pick<EnforcementPoint, 'config'>): boolean {
  return config.METRICS_PORT === config.PORT && config.PORT !== 0
}

function addressesOf(all: readonly [Listening, ...Listening[]]): [Address, ...Address[]] {
  const [first, ...rest] = all
  const of = ({ server, host, scheme }: Listening) => addressOf(server, host, scheme)
  return [of(first), ...rest.map(of)]
}

function running(
  point: EnforcementPoint,
  servers: readonly Server[],
  address: Address,
  metricsListener: MetricsListener | null,
): RunningService {
  const { logger, probes } = point
  let stopping: Promise<StopReport> | undefined
  return {
    name: point.role,
    address,
    metricsAddress: metricsListener?.address ?? address,
    probes,
    routes: () => [],
    stop() {
      stopping ??= gracefulStop({
        logger,
        unready: probes.drain,
        drainDelayMs: point.config.DRAIN_DELAY,
        servers,
        hooks: point.stops,
        async last() {
          point.live.close()
          probes.close()
          await metricsListener?.close()
          point.metrics.close()
        },
      })
      return stopping
    },
  }
}
