import { readFileSync } from 'node:fs'
import { setting } from './kinds.ts'
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

/** The most a secret file may hold. */
const MAX_FILE_CHARACTERS = 65_536

/**
 * The environment of one role. Each variable also as `<NAME>_FILE` (both is an error), keys also as `<NAME>_PREVIOUS`.
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
      const read = options.readFile ?? readText
      const values: Record<string, unknown> = {}
      for (const [name, one] of Object.entries(all)) {
        const current = readOne(environment, name, one, read, problems)
        const previous = one.rotates ? readOne(environment, `${name}_PREVIOUS`, one, read, problems) : undefined
        if (current === undefined && previous !== undefined) problems.push({ name, rule: `is missing while ${name}_PREVIOUS is set` })
        else if (current === undefined && one.required && !problems.some((found) => found.name === name || found.name === `${name}_FILE`)) {
          problems.push({ name, rule: `is required (${one.type})` })
        }
        if (current !== undefined && previous !== undefined && String(current) === String(previous)) {
          problems.push({ name: `${name}_PREVIOUS`, rule: `equals ${name}` })
        }
        values[name] = one.build(current, previous)
      }
      if (problems.length > 0) throw new ConfigurationError(problems)
      const complete = values as Values<S>
      const broken = rules(complete)
      if (broken.length > 0) throw new ConfigurationError(broken)
      return complete
    },
    secrets(environment, options = {}) {
      const read = options.readFile ?? readText
      const found: string[] = []
      for (const [name, one] of Object.entries(all)) {
        if (!one.secret) continue
        for (const spelled of one.rotates ? [name, `${name}_PREVIOUS`] : [name]) {
          const text = textOf(environment, spelled, read, [])
          if (text !== undefined) found.push(text, ...passwordsIn(text))
        }
      }
      return found
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

function readOne(
  environment: Environment,
  name: string,
  one: Setting<unknown>,
  read: (path: string) => string,
  problems: ConfigurationProblem[],
): unknown {
  const text = textOf(environment, name, read, problems)
  if (text === undefined) return undefined
  const parsed = one.parse(text)
  if (parsed.ok) return parsed.value
  problems.push({ name, rule: parsed.rule })
  return undefined
}

function textOf(
  environment: Environment,
  name: string,
  read: (path: string) => string,
  problems: ConfigurationProblem[],
): string | undefined {
  const given = environment[name]
  const file = environment[`${name}_FILE`]
  // An empty variable is how shells and manifests spell "not set".
  const direct = given === undefined || given === '' || isServiceLink(name, given) ? undefined : given
  if (file === undefined) return direct
  if (direct !== undefined) {
    problems.push({ name, rule: `and ${name}_FILE are both set` })
    return undefined
  }
  if (file === '') {
    problems.push({ name: `${name}_FILE`, rule: 'is empty' })
    return undefined
  }
  let content: string
  try {
    content = read(file)
  } catch {
    problems.push({ name: `${name}_FILE`, rule: 'cannot be read' })
    return undefined
  }
  const text = content.replace(/\r?\n$/, '')
  if (text === '' || content.length > MAX_FILE_CHARACTERS) {
    problems.push({ name: `${name}_FILE`, rule: text === '' ? 'is an empty file' : 'is a file of more than 64 KiB' })
    return undefined
  }
  return text
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

function passwordsIn(text: string): string[] {
  if (!URL.canParse(text)) return []
  const { password } = new URL(text)
  return password === '' ? [] : [password, decodeURIComponent(password)]
}

function readText(path: string): string {
  return readFileSync(path, 'utf8')
}
