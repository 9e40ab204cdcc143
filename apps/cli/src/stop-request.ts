export type StopRequest = {
  /** Aborted at the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal
  /** Resolves then. */
  readonly requested: Promise<void>
}

/**
 * Listens for SIGINT and SIGTERM from now on. The first one asks to stop; with `withinMs` the process ends so long after it,
 * whatever hangs. A second one ends it at once.
 */
export function onStopRequest(options: { readonly withinMs?: number } = {}): StopRequest {
  const controller = new AbortController()
  const { promise: requested, resolve } = Promise.withResolvers<void>()
  const onSignal = (signal: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(signal === 'SIGINT' ? 130 : 143)
    controller.abort()
    resolve()
    if (options.withinMs === undefined) return
    setTimeout(() => {
      process.stderr.write('error: not everything stopped in time; what was still running was cut\n')
      process.exit(1)
    }, options.withinMs).unref()
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  return { signal: controller.signal, requested }
}
