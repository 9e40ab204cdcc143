import type { Server } from 'node:http'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from './logger.ts'

/** Something to do when the service stops, after the last call was answered. Later hooks run first. */
export type StopHook = { readonly name: string; readonly stop: () => Promise<unknown> | unknown }

export type StopPlan = {
  readonly logger: Logger
  /** Makes `/ready` say no. */
  readonly unready: () => void
  /** How long calls are still accepted after that, so that balancers notice (DRAIN_DELAY). Milliseconds. */
  readonly drainDelayMs: number
  /** Listeners that stop accepting together. */
  readonly servers: readonly Server[]
  /** Called when accepting stops: end streams, refuse upgrades. */
  readonly onClosing?: () => void
  readonly hooks: readonly StopHook[]
  /** What closes last: probes stay reachable while the rest drains. */
  readonly last?: () => Promise<unknown>
  /** Longest wait for calls in flight. Milliseconds; 14 000. */
  readonly finishMs?: number
  /** Longest time for all hooks together. Milliseconds; 5 000. */
  readonly hooksMs?: number
}

/** What was left: calls that were cut and hooks that failed or did not end in time. */
export type StopReport = { readonly cutConnections: number; readonly failedHooks: readonly string[]; readonly ms: number }

const FINISH_MS = 14_000
const HOOKS_MS = 5_000
const TOTAL_MS = 15_000

/**
 * Unready → drain delay → stop accepting → finish calls in flight (≤ 14 s) → hooks in reverse order (≤ 5 s, and at least 1 s)
 * → last. Resolved within 15 s after the drain delay, whatever hangs (P-145). Never rejects.
 */
export async function gracefulStop(plan: StopPlan): Promise<StopReport> {
  plan.unready()
  if (plan.drainDelayMs > 0) await sleep(plan.drainDelayMs)
  const began = performance.now()
  plan.onClosing?.()
  const cutConnections = (await Promise.all(plan.servers.map((server) => closeServer(server, plan.finishMs ?? FINISH_MS)))).reduce(
    (a, b) => a + b,
    0,
  )
  if (cutConnections > 0) plan.logger.warn({ connections: cutConnections }, 'calls in flight were cut')

  const failedHooks: string[] = []
  const now = performance.now()
  const deadline = Math.max(now + Math.min(1_000, plan.hooksMs ?? HOOKS_MS), Math.min(now + (plan.hooksMs ?? HOOKS_MS), began + TOTAL_MS))
  for (const hook of [...plan.hooks].reverse()) {
    try {
      await within(Promise.resolve(hook.stop()), Math.max(50, deadline - performance.now()))
    } catch (error) {
      failedHooks.push(hook.name)
      plan.logger.error({ err: error, hook: hook.name }, 'stopping a part failed')
    }
  }
  await plan.last?.()
  const ms = Math.round(performance.now() - began)
  plan.logger.info({ ms, cutConnections, failedHooks }, 'stopped')
  return { cutConnections, failedHooks, ms }
}

/** Stops accepting, closes idle keep-alive connections, waits for the busy ones, then cuts. Returns how many were cut. */
async function closeServer(server: Server, finishMs: number): Promise<number> {
  if (!server.listening) return 0
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeIdleConnections()
  // A connection that turns idle now is not closed by `close` itself when its response had already begun.
  const sweep = setInterval(() => server.closeIdleConnections(), 100)
  const finished = await Promise.race([closed.then(() => true), sleep(finishMs, false, { ref: false })])
  clearInterval(sweep)
  if (finished) return 0
  const left = await new Promise<number>((resolve) => server.getConnections((_error, count) => resolve(count ?? 0)))
  server.closeAllConnections()
  await closed
  return left
}

async function within<T>(work: Promise<T>, ms: number): Promise<T> {
  const late = new AbortController()
  try {
    return await Promise.race([
      work,
      sleep(ms, undefined, { signal: late.signal }).then(() => {
        throw new Error(`not done within ${Math.round(ms)} ms`)
      }),
    ])
  } finally {
    late.abort()
  }
}
