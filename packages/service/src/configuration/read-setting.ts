import type { ConfigurationProblem, Environment } from './define-configuration.ts'
import { isServiceLink } from './service-link.ts'
import type { Setting } from './setting.ts'

/** The most a secret file may hold: bundles of certificates are long. */
const MAX_FILE_CHARACTERS = 1_048_576

export type ReadFile = (path: string) => string

/** The texts of one setting as they stand in the environment or its files; `previous` only where it rotates. */
export type SettingTexts = { readonly current: string | undefined; readonly previous: string | undefined }

/**
 * The texts of a setting. `<NAME>_FILE` of one that rotates may have a second line, the value that is valid beside the first: so
 * both change in one step. `<NAME>_PREVIOUS_FILE` may name a file that is not there: then nothing is in rotation.
 */
export function settingTexts(
  environment: Environment,
  name: string,
  one: Pick<Setting<unknown>, 'rotates' | 'fileMayBeAbsent'>,
  read: ReadFile,
  problems: ConfigurationProblem[],
): SettingTexts {
  const text = textOf(environment, name, read, problems, one.fileMayBeAbsent ? 'may be absent' : undefined)
  if (!one.rotates) return { current: text, previous: undefined }
  const beside = textOf(environment, `${name}_PREVIOUS`, read, problems, 'may be absent')
  const [current, second, more] = environment[`${name}_FILE`] === undefined ? [text] : (text?.split(/\r?\n/) ?? [])
  if (more !== undefined) problems.push({ name: `${name}_FILE`, rule: 'has more than two lines' })
  if (second !== undefined && beside !== undefined)
    problems.push({ name: `${name}_PREVIOUS`, rule: `and the second line of ${name}_FILE are both set` })
  return { current, previous: second ?? beside }
}

/** The typed value of one setting; what is wrong is added to `problems`, without the value. */
export function readSetting(
  environment: Environment,
  name: string,
  one: Setting<unknown>,
  read: ReadFile,
  problems: ConfigurationProblem[],
): unknown {
  const texts = settingTexts(environment, name, one, read, problems)
  const current = parsed(one, name, texts.current, problems)
  const previous = parsed(one, `${name}_PREVIOUS`, texts.previous, problems)
  if (current === undefined && previous !== undefined) problems.push({ name, rule: `is missing while ${name}_PREVIOUS is set` })
  else if (current === undefined && one.required && !problems.some((found) => found.name === name || found.name === `${name}_FILE`)) {
    problems.push({ name, rule: `is required (${one.type})` })
  }
  if (current !== undefined && previous !== undefined && String(current) === String(previous)) {
    problems.push({ name: `${name}_PREVIOUS`, rule: `equals ${name}` })
  }
  return one.build(current, previous)
}

/** Every text of a setting that must not be told, passwords in URLs by themselves too. */
export function secretTexts(environment: Environment, name: string, one: Setting<unknown>, read: ReadFile): readonly string[] {
  if (!one.secret) return []
  const { current, previous } = settingTexts(environment, name, one, read, [])
  return [current, previous].flatMap((text) => (text === undefined ? [] : [text, ...passwordsIn(text)]))
}

function parsed(one: Setting<unknown>, name: string, text: string | undefined, problems: ConfigurationProblem[]): unknown {
  if (text === undefined) return undefined
  const found = one.parse(text)
  if (found.ok) return found.value
  problems.push({ name, rule: found.rule })
  return undefined
}

function textOf(
  environment: Environment,
  name: string,
  read: ReadFile,
  problems: ConfigurationProblem[],
  absent?: 'may be absent',
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
  } catch (error) {
    if (absent === undefined || (error as NodeJS.ErrnoException).code !== 'ENOENT')
      problems.push({ name: `${name}_FILE`, rule: 'cannot be read' })
    return undefined
  }
  const text = content.replace(/\r?\n$/, '')
  if (text === '' || content.length > MAX_FILE_CHARACTERS) {
    problems.push({ name: `${name}_FILE`, rule: text === '' ? 'is an empty file' : 'is a file of more than 1 MiB' })
    return undefined
  }
  return text
}

function passwordsIn(text: string): string[] {
  if (!URL.canParse(text)) return []
  const { password } = new URL(text)
  return password === '' ? [] : [password, decodeURIComponent(password)]
}
