import { readFileSync } from 'node:fs'
import { setting } from './kinds.ts'
import { type LivingPair, livingPair, rememberOrigin } from './living-values.ts'
import { readSetting, secretTexts } from './read-setting.ts'
import { isServiceLink } from './service-link.ts'
import type { Rotating, Setting } from './setting.ts'

export type Mode = 'dev' | 'rc' | 'stable'

/** One thing that is wrong: which variable, which rule. Never the value. */
export type ConfigurationProblem = { readonly name: string; readonly rule: string }

/** Everything that is wrong with the environment, at once. The process should end with exit code 78 (EX_CONFIG). */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError'
  readonly problems: readonly ConfigurationProblem[]

  constructor(problems: readonly ConfigurationProblem[]) {
    super(`the configuration is wrong: ${problems.map((one) => `${one.name} ${one.rule}`).join('; ')}`)
    this.problems = problems
  }
}

export type Settings = Readonly<Record<string, Setting<unknown>>>

export type Values<S extends Settings> = { readonly [N in keyof S]: S[N] extends Setting<infer T> ? T : never } & {
  readonly CARACAL_MODE: Mode
}

export type Environment = Readonly<Record<string, string | undefined>>

/** A row of the reference page. */
export type SettingDescription = {
  readonly name: string
  readonly type: string
  readonly required: boolean
  readonly default: string | undefined
  readonly secret: boolean
  readonly rotates: boolean
  readonly meaning: string
}

export type Configuration<S extends Settings> = {
  /** Parses once and strictly; throws `ConfigurationError` with every problem. */
  parse(environment: Environment, options?: ParseOptions): Values<S>
  /** Texts of every secret that is set, for the logger's redaction. */
  secrets(environment: Environment, options?: ParseOptions): readonly string[]
  describe(): readonly SettingDescription[]
}

export type ParseOptions = {
  /** `CARACAL_*` names that belong to somebody else in this process, e.g. the other roles'. */
  readonly alsoKnown?: readonly string[]
  readonly readFile?: (path: string) => string
}

const MODE = setting.oneOf(['dev', 'rc', 'stable'], { meaning: 'How strict it is; unset is stable.', default: 'stable' })

/**
 * The environment of one role. Each variable also as `<NAME>_FILE` (both is an error), keys also as `<NAME>_PREVIOUS`. Keys and
 * secrets that come from files are what those say at the moment, once `followFiles` looks after them.
 * `rules` look at several values together and name what does not fit, as `{ name, rule }`.
 */
export function defineConfiguration<const S extends Settings>(
  settings: S,
  rules: (values: Values<S>) => readonly ConfigurationProblem[] = () => [],
): Configuration<S> {
  const all: Settings = { CARACAL_MODE: MODE, ...settings }
  return {
    parse(environment, options = {}) {
      const problems: ConfigurationProblem[] = unknownNames(environment, all, options.alsoKnown ?? [])
      const files = new Map<string, string>()
      const read = (path: string) => {
        const text = (options.readFile ?? readText)(path)
        files.set(path, text)
        return text
      }
      const values: Record<string, unknown> = {}
      const become = new Map<string, (next: LivingPair) => void>()
      for (const [name, one] of Object.entries(all)) {
        const value = readSetting(environment, name, one, read, problems)
        values[name] = value
        const byFile = environment[`${name}_FILE`] ?? environment[`${name}_PREVIOUS_FILE`]
        if (!one.rotates || value === undefined || byFile === undefined) continue
        const living = livingPair(value as LivingPair)
        values[name] = living.pair
        become.set(name, living.become)
      }
      if (problems.length > 0) throw new ConfigurationError(problems)
      const complete = values as Values<S>
      const broken = rules(complete)
      if (broken.length > 0) throw new ConfigurationError(broken)
      rememberOrigin(complete, { environment, settings: all, become, files })
      return complete
    },
    secrets(environment, options = {}) {
      const read = options.readFile ?? readText
      return Object.entries(all).flatMap(([name, one]) => secretTexts(environment, name, one, read))
    },
    describe: () =>
      Object.entries(all).map(([name, one]) => ({
        name,
        type: one.type,
        required: one.required,
        default: one.defaultText,
        secret: one.secret,
        rotates: one.rotates,
        meaning: one.meaning,
      })),
  }
}

/** Pairs that come from rotation as a list of what is valid now. */
export function validNow<T>(value: Rotating<T> | undefined): readonly T[] {
  if (value === undefined) return []
  return value.previous === undefined ? [value.current] : [value.current, value.previous]
}

function unknownNames(environment: Environment, settings: Settings, alsoKnown: readonly string[]): ConfigurationProblem[] {
  const known = new Set(alsoKnown)
  for (const [name, one] of Object.entries(settings)) {
    for (const spelled of one.rotates ? [name, `${name}_PREVIOUS`] : [name]) known.add(spelled).add(`${spelled}_FILE`)
  }
  const found: ConfigurationProblem[] = []
  for (const [name, value] of Object.entries(environment)) {
    if (value === undefined || !name.startsWith('CARACAL_') || known.has(name) || isServiceLink(name, value)) continue
    found.push({ name, rule: 'is not a setting of this role' })
  }
  return found
}

function readText(path: string): string {
  return readFileSync(path, 'utf8')
}
