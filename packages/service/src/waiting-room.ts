import { createServer, type RequestListener, type Server } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { newId, refuse } from '@caracal/core'
import { type Mode, validNow } from './configuration/define-configuration.ts'
import type { Rotating } from './configuration/setting.ts'
import type { Logger } from './logger.ts'
import { createMetrics, type Metrics } from './metrics.ts'
import { answerProbe, listen, type MetricsListener, type PlainAnswer, startMetricsListener } from './metrics-listener.ts'
import { type Check, createProbes } from './probes.ts'
import { problem } from './problem.ts'
import { RELEASE } from './release.ts'

/** Where a role listens. */
export type RoleListeners = {
  readonly CARACAL_MODE: Mode
  readonly HOST: string
  readonly PORT: number
  readonly METRICS_PORT: number
  readonly METRICS_BEARER: Rotating<string> | undefined
}

/**
 * What a role cannot begin without: `check` throws as long as it has to be waited for. Of a `safety` only those throws count in
 * `/ready` that `says` names: that a store is away is another's matter.
 */
export type Needed = Pick<Check, 'name' | 'kind' | 'reason'> & {
  readonly check: () => Promise<unknown>
  readonly says?: (error: unknown) => boolean
}

const LOOK_MS = 500
/** The log repeats what is waited for so often. */
const SAY_MS = 30_000

/**
 * Resolves when everything awaited is there. Until then both ports of the role answer probes and metrics, `/ready` says what is
 * missing, and every other request is told to come again (503). When all is there at once, nothing listens. An error for which
 * `hopeless` is true ends the waiting.
 */
export async function waitFor(
  role: string,
  config: RoleListeners,
  awaited: readonly Needed[],
  parts: {
    readonly logger: Logger
    readonly hopeless?: (error: unknown) => boolean
    readonly observe?: (metrics: Metrics) => void
    /** The listener on PORT, where it is not plain HTTP. */
    readonly listener?: (respond: RequestListener) => Server
  },
): Promise<void> {
  let room: { close(): Promise<void> } | undefined
  let said = Number.NEGATIVE_INFINITY
  try {
    for (;;) {
      const missing = await missingOf(awaited, parts.hopeless)
      if (missing.length === 0) return
      room ??= await openRoom(role, config, awaited, parts)
      if (performance.now() - said >= SAY_MS) {
        said = performance.now()
        for (const { name, error } of missing) parts.logger.warn({ check: name, err: error }, 'waiting before the start')
      }
      await sleep(LOOK_MS)
    }
  } finally {
    await room?.close()
  }
}

async function missingOf(awaited: readonly Needed[], hopeless: (error: unknown) => boolean = () => false) {
  const found = await Promise.all(
    awaited.map(async ({ name, check }) => {
      try {
        await check()
        return []
      } catch (error) {
        if (hopeless(error)) throw error
        return [{ name, error }]
      }
    }),
  )
  return found.flat()
}

async function openRoom(
  role: string,
  config: RoleListeners,
  awaited: readonly Needed[],
  {
    logger,
    observe,
    listener: createListener = createServer,
  }: {
    readonly logger: Logger
    readonly observe?: (metrics: Metrics) => void
    readonly listener?: (respond: RequestListener) => Server
  },
): Promise<{ close(): Promise<void> }> {
  const version = RELEASE
  const metrics = createMetrics({ service: role, version, mode: config.CARACAL_MODE })
  observe?.(metrics)
  const checks = awaited.map((one): Check => ({ ...one, check: () => stands(one) }))
  const probes = createProbes({ service: role, version, checks, logger, metrics })
  await probes.refresh()
  const comeAgain = (): PlainAnswer =>
    problem(refuse('store_unavailable', 'this replica is starting'), { service: role, requestId: newId('request') })
  const server = createListener((request, response) => {
    const found = answerProbe((request.url ?? '').split('?')[0] ?? '', probes) ?? comeAgain()
    response.writeHead(found.status, { ...found.headers, connection: 'close', 'content-length': Buffer.byteLength(found.body) })
    response.end(request.method === 'HEAD' ? undefined : found.body)
  })
  let listener: MetricsListener | undefined
  const close = async () => {
    probes.close()
    await listener?.close()
    await closed(server)
    metrics.close()
  }
  try {
    // Where both are one, the port of the role answers.
    if (config.METRICS_PORT === 0 || config.METRICS_PORT !== config.PORT) {
      listener = await startMetricsListener({
        service: role,
        host: config.HOST,
        port: config.METRICS_PORT,
        bearer: () => validNow(config.METRICS_BEARER),
        metrics,
        probes,
        logger,
      })
    }
    await listen(server, config.HOST, config.PORT)
  } catch (error) {
    await close()
    throw error
  }
  return { close }
}

async function stands({ check, says }: Needed): Promise<boolean> {
  try {
    await check()
    return true
  } catch (error) {
    if (says !== undefined) return !says(error)
    throw error
  }
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    if (!server.listening) return resolve()
    server.close(() => resolve())
    server.closeAllConnections()
  })
}
