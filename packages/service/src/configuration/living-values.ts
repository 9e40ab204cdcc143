import type { Environment } from './define-configuration.ts'
import { secretTexts } from './read-setting.ts'
import type { Setting } from './setting.ts'

/** Two values as they stand now: whoever holds the pair sees the change of its file at the next look. */
export type LivingPair = { readonly current: unknown; readonly previous: unknown }

/** What is known of parsed values beside themselves: where they came from, and how those in rotation change. */
export type ParsedFrom = {
  readonly environment: Environment
  readonly settings: Readonly<Record<string, Setting<unknown>>>
  /** By name of the setting: puts another pair in the place of the one that is read now. */
  readonly become: ReadonlyMap<string, (next: LivingPair) => void>
  /** What was read, by path. */
  readonly files: ReadonlyMap<string, string>
  /** Replaced, never changed in place, when a secret is added. */
  secrets: readonly string[]
}

/** The secrets that were valid lately are kept out of the log too, as many as these. */
const MOST_SECRETS = 200

const parsedFrom = new WeakMap<object, ParsedFrom>()

/** A pair whose members are what they are at the moment they are read. */
export function livingPair<T extends LivingPair>(first: T): { readonly pair: T; readonly become: (next: LivingPair) => void } {
  let now: LivingPair = first
  const pair = {
    get current() {
      return now.current
    },
    get previous() {
      return now.previous
    },
  }
  return {
    pair: pair as T,
    become: (next) => {
      now = next
    },
  }
}

/** Notes where values came from; by the values themselves, so that they need no member for it. */
export function rememberOrigin(values: object, origin: Omit<ParsedFrom, 'secrets'>): void {
  const read = (path: string) => origin.files.get(path) ?? ''
  const secrets = Object.entries(origin.settings).flatMap(([name, one]) => secretTexts(origin.environment, name, one, read))
  parsedFrom.set(values, { ...origin, secrets })
}

/** Undefined for values that no configuration parsed. */
export function originOf(values: object): ParsedFrom | undefined {
  return parsedFrom.get(values)
}

/** Texts of every secret of these values, those read again from files included, for the logger's redaction. */
export function secretsOf(values: object): readonly string[] {
  return parsedFrom.get(values)?.secrets ?? []
}

export function addSecrets(origin: ParsedFrom, more: readonly string[]): void {
  origin.secrets = [...new Set([...more, ...origin.secrets])].slice(0, MOST_SECRETS)
}
