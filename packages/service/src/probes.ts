import type { Logger } from './logger.ts'
import type { Metrics } from './metrics.ts'

/** What a check found: it holds (or says nothing), it does not, or it does not and this is the reason. */
export type Finding = boolean | undefined | { readonly missing: string }

/**
 * Something that is asked in the background; probes answer from what it said last.
 * `dependency`: must have worked once before the replica is ready (`starting`); later it only degrades `/health`, because a
 * fault that all replicas share must not take them all away (P-140).
 * `safety`: a property without which this replica must not serve; its `reason` stands in `/ready` as long as it is missing.
 * `warning`: only ever degrades `/health`.
 */
export type Check = {
  readonly name: string
  readonly kind: 'dependency' | 'safety' | 'warning'
  /** Defaults to the name. */
  readonly reason?: string
  /** False or a throw is a failure; so are two seconds of silence. */
  readonly check: () => Finding | Promise<Finding> | Promise<void>
}

export type Health = {
  readonly status: 'ok' | 'degraded'
  readonly service: string
  readonly version: string
  readonly checks: Readonly<Record<string, 'ok' | 'failing' | 'starting'>>
}

export type Probes = {
  readonly health: () => Health
  readonly ready: () => { readonly ready: boolean; readonly reasons: readonly string[] }
  /** Until this is called the replica is `starting`. */
  readonly started: () => void
  /** From here on the replica is `draining`. */
  readonly drain: () => void
  readonly draining: () => boolean
  /** Asks every check once, now. */
  readonly refresh: () => Promise<void>
  readonly close: () => void
}

type CheckState = { readonly ok: boolean; readonly proven: boolean; readonly missing: string | undefined }

const PATIENCE_MS = 2_000

/** Probes from cached checks, usable with any HTTP server. `intervalMs`: how often checks are asked. */
export function createProbes(options: {
  readonly service: string
  readonly version: string
  readonly checks: readonly Check[]
  readonly logger: Logger
  readonly metrics?: Metrics
  readonly intervalMs?: number
}): Probes {
  const states = new Map(
    options.checks.map((check): [string, CheckState] => [check.name, { ok: false, proven: false, missing: undefined }]),
  )
  let started = false
  let draining = false
  let running: Promise<void> | undefined

  const ask = async (check: Check): Promise<void> => {
    const before = states.get(check.name)
    let works: boolean
    let missing: string | undefined
    let failure: unknown
    try {
      const found = await withPatience<Finding | undefined>(check.check() as Promise<Finding | undefined>)
      works = found === undefined || found === true
      if (typeof found === 'object') missing = found.missing
    } catch (error) {
      works = false
      failure = error
    }
    if (works !== before?.ok && (works || before?.proven)) {
      const fields = {
        check: check.name,
        ...(missing === undefined ? {} : { missing }),
        ...(failure === undefined ? {} : { err: failure }),
      }
      if (works) options.logger.info(fields, 'check passes')
      else options.logger.warn(fields, 'check fails')
    }
    // Nothing waits for a warning: it fails from the first time on that it is asked.
    states.set(check.name, { ok: works, proven: before?.proven === true || works || check.kind === 'warning', missing })
  }
  const refresh = (): Promise<void> => {
    // One round at a time: a slow dependency must not pile up questions.
    running ??= Promise.all(options.checks.map(ask)).then(() => {
      running = undefined
    })
    return running
  }
  const reasons = (): string[] => {
    const found: string[] = []
    if (draining) found.push('draining')
    if (!started) found.push('starting')
    for (const check of options.checks) {
      const state = states.get(check.name)
      if (state?.ok || check.kind === 'warning') continue
      const reason = state?.missing ?? check.reason ?? check.name
      if (check.kind === 'safety') found.push(reason)
      else if (!state?.proven) found.push(`starting: ${reason}`)
    }
    return [...new Set(found)]
  }

  const timer = setInterval(refresh, options.intervalMs ?? 1_000)
  timer.unref()
  options.metrics?.gauge('caracal_ready', '1 when this replica can serve safely.', [], (own) => own.set(reasons().length === 0 ? 1 : 0))

  return {
    health: () => ({
      status: [...states.values()].every((state) => state.ok) ? 'ok' : 'degraded',
      service: options.service,
      version: options.version,
      checks: Object.fromEntries([...states].map(([name, state]) => [name, state.ok ? 'ok' : state.proven ? 'failing' : 'starting'])),
    }),
    ready: () => {
      const missing = reasons()
      return { ready: missing.length === 0, reasons: missing }
    },
    started: () => {
      started = true
    },
    drain: () => {
      draining = true
    },
    draining: () => draining,
    refresh,
    close: () => clearInterval(timer),
  }
}

async function withPatience<T>(answer: T | Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer in ${PATIENCE_MS} ms`)), PATIENCE_MS)
  })
  try {
    return await Promise.race([answer, silence])
  } finally {
    clearTimeout(timer)
  }
}
