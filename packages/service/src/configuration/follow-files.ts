import { readFile } from 'node:fs/promises'
import type { Logger } from '../logger.ts'
import type { Metrics } from '../metrics.ts'
import type { ConfigurationProblem } from './define-configuration.ts'
import { addSecrets, type LivingPair, originOf, type ParsedFrom } from './living-values.ts'
import { readSetting, secretTexts } from './read-setting.ts'
import type { Setting } from './setting.ts'

/** How often files are read. A change counts at the second look that finds it the same, so that none is read half-written. */
const LOOK_MS = 1_000
/** A replaced token is valid for so long: whoever presents it has his own copy to renew. */
const OVERLAP_MS = 120_000
/** What a store did not take, e.g. a login that does not exist yet, is tried again. */
const AGAIN_MS = 30_000

export type FollowFilesOptions = {
  readonly logger: Pick<Logger, 'info' | 'warn' | 'error'>
  readonly metrics?: Metrics
  /** What takes a new value of a setting that does not rotate, e.g. `DATABASE_URL`; when it rejects the old one stays. */
  readonly take?: Readonly<Record<string, ((value: string) => void | Promise<void>) | undefined>>
  /** Milliseconds between looks; 0 = only when `look` is called. */
  readonly everyMs?: number
  /** Monotonic milliseconds. */
  readonly now?: () => number
}

export type FileFollower = {
  /** Reads all files once. A change is taken at the second look that finds it. */
  look(): Promise<void>
  stop(): Promise<void>
}

/** One setting that comes from files. */
type Followed = {
  readonly name: string
  readonly one: Setting<unknown>
  readonly paths: readonly string[]
  /** What the files say that the value in use was read from. */
  used: string
  /** What they said at the last look. */
  seen: string | undefined
  /** What they said when it was refused, and when it is tried again. */
  refused: { readonly files: string; readonly againAt: number } | undefined
  /** When a replaced token stops being valid. */
  expiresAt: number | undefined
}

/**
 * Keeps the values of `config` what their files say, whoever wrote them and however: in place, by rename, or by the symbolic link
 * that Kubernetes swaps for a mounted Secret. A value that breaks its rules is refused with an error in the log, and the old one
 * stays; `caracal_settings_refused` counts those. Settings that cannot change while it runs are named in the log.
 */
export function followFiles(config: object, options: FollowFilesOptions): FileFollower {
  const now = options.now ?? (() => performance.now())
  const origin = originOf(config)
  const all = origin === undefined ? [] : followedOf(origin)
  options.metrics?.gauge('caracal_settings_refused', 'Settings whose file changed to a value that was refused.', [], (own) =>
    own.set(all.filter(({ refused }) => refused !== undefined).length),
  )
  const reread = options.metrics?.counter('caracal_settings_reread_total', 'New values of settings taken from changed files.')

  const refuse = (one: Followed, files: string, problems: readonly ConfigurationProblem[], againAt = Number.POSITIVE_INFINITY) => {
    if (one.refused?.files !== files)
      options.logger.error({ setting: one.name, problems }, 'a changed file has a value that is refused; the old one stays')
    one.refused = { files, againAt }
  }
  const taken = (one: Followed, files: string, texts: ReadonlyMap<string, string | Error>) => {
    one.used = files
    one.refused = undefined
    if (origin !== undefined) addSecrets(origin, secretTexts(origin.environment, one.name, one.one, readFrom(texts)))
  }

  const change = async (from: ParsedFrom, one: Followed, files: string, texts: ReadonlyMap<string, string | Error>) => {
    const problems: ConfigurationProblem[] = []
    const value = readSetting(from.environment, one.name, one.one, readFrom(texts), problems)
    const become = from.become.get(one.name)
    const former = (config as Readonly<Record<string, unknown>>)[one.name]
    if (problems.length === 0 && become !== undefined && one.one.replaced === 'demanded' && !names(value, former))
      problems.push({ name: one.name, rule: 'must name the key in use on its second line: what it sealed opens with nothing else' })
    if (problems.length > 0) return refuse(one, files, problems)
    if (become !== undefined) {
      // First the secret is kept out of the log, then it is used.
      taken(one, files, texts)
      const next = value as LivingPair
      const unnamed = isPair(former) && !names(next, former) && isNone(next.previous)
      become(unnamed ? { current: next.current, previous: former.current } : next)
      one.expiresAt = unnamed && one.one.replaced === 'expires' ? now() + OVERLAP_MS : undefined
    } else {
      const take = options.take?.[one.name]
      if (take === undefined) {
        taken(one, files, texts)
        options.logger.warn({ setting: one.name }, 'a file changed whose setting counts from the next start')
        return
      }
      addSecrets(from, secretTexts(from.environment, one.name, one.one, readFrom(texts)))
      try {
        await take(String(value))
      } catch (error) {
        const rule = error instanceof Error ? error.message : String(error)
        return refuse(one, files, [{ name: one.name, rule }], now() + AGAIN_MS)
      }
      taken(one, files, texts)
    }
    reread?.inc()
    options.logger.info({ setting: one.name }, 'a setting was read again from its changed file')
  }

  const lookAt = async (from: ParsedFrom, one: Followed): Promise<void> => {
    if (one.expiresAt !== undefined && now() >= one.expiresAt) {
      one.expiresAt = undefined
      const { current } = (config as Readonly<Record<string, unknown>>)[one.name] as LivingPair
      from.become.get(one.name)?.({ current, previous: undefined })
    }
    const texts = new Map(await Promise.all(one.paths.map(async (path) => [path, await textOrError(path)] as const)))
    const files = filesOf(one.paths, (path) => texts.get(path))
    const same = files === one.seen
    one.seen = files
    if (files === one.used) one.refused = undefined
    else if (same && (one.refused?.files !== files || now() >= one.refused.againAt)) await change(from, one, files, texts)
  }

  let looking: Promise<void> | undefined
  const look = () => {
    looking ??= Promise.all(origin === undefined ? [] : all.map((one) => lookAt(origin, one)))
      .then(() => undefined)
      .finally(() => {
        looking = undefined
      })
    return looking
  }
  const every = options.everyMs ?? LOOK_MS
  const timer =
    all.length === 0 || every === 0
      ? undefined
      : setInterval(() => {
          look().catch((error: unknown) => options.logger.error({ err: error }, 'the files of settings could not be looked at'))
        }, every).unref()
  return {
    look,
    async stop() {
      clearInterval(timer)
      await looking?.catch(() => undefined)
    },
  }
}

function followedOf({ environment, settings, files }: ParsedFrom): Followed[] {
  return Object.entries(settings).flatMap(([name, one]) => {
    const variables = one.rotates ? [`${name}_FILE`, `${name}_PREVIOUS_FILE`] : [`${name}_FILE`]
    const paths = variables.flatMap((variable) => environment[variable] || [])
    if (paths.length === 0) return []
    const used = filesOf(paths, (path) => files.get(path))
    return [{ name, one, paths, used, seen: undefined, refused: undefined, expiresAt: undefined }]
  })
}

function filesOf(paths: readonly string[], textOf: (path: string) => unknown): string {
  return JSON.stringify(paths.map((path) => textOf(path)).map((text) => (typeof text === 'string' ? text : null)))
}

async function textOrError(path: string): Promise<string | Error> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    return error as Error
  }
}

function readFrom(texts: ReadonlyMap<string, string | Error>): (path: string) => string {
  return (path) => {
    const text = texts.get(path)
    if (typeof text === 'string') return text
    throw text ?? new Error('was not read')
  }
}

function isPair(value: unknown): value is LivingPair {
  return typeof value === 'object' && value !== null && 'current' in value
}

function isNone(value: unknown): boolean {
  return value === undefined || value === null
}

/** Whether the pair names what is current in the former one. */
function names(value: unknown, former: unknown): boolean {
  if (!isPair(value) || !isPair(former)) return true
  return [value.current, value.previous].some((one) => identity(one) === identity(former.current))
}

/** Keys are the same by their id. */
function identity(value: unknown): unknown {
  return typeof value === 'object' && value !== null && 'id' in value ? value.id : value
}
