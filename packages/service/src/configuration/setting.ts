/** What one text value is, or which rule it breaks. The rule never repeats the value. */
export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly rule: string }

/** Two values that may both be valid while one replaces the other. */
export type Rotating<T> = { readonly current: T; readonly previous: T | undefined }

/**
 * `expires`: it is valid for a while longer (tokens). `stays`: until the next change, for what it made may be on its way (keys that
 * authenticate). `demanded`: a file that does not name it is refused, for what it sealed opens with nothing else.
 */
export type Replaced = 'expires' | 'stays' | 'demanded'

/** One environment variable, as a schema: how it is read, and what the reference page says of it. */
export type Setting<T> = {
  /** In the words of the reference page, e.g. `port`, `duration`, `integer 1…100`. */
  readonly type: string
  readonly meaning: string
  /** Its value never appears in a log, a problem or a description. */
  readonly secret: boolean
  /** Absent is a problem. */
  readonly required: boolean
  /** How the default reads in the reference page. */
  readonly defaultText: string | undefined
  /** `<NAME>_PREVIOUS` is read too and the value is a `Rotating`. */
  readonly rotates: boolean
  /** What becomes of the value that a changed file replaces without naming it; only where it rotates. */
  readonly replaced: Replaced
  /** `<NAME>_FILE` may name a file that is not there: then the value is not set. */
  readonly fileMayBeAbsent: boolean
  readonly parse: (text: string) => Parsed<unknown>
  /** The typed value, once texts are parsed; `current` is undefined when the variable is not set. */
  readonly build: (current: unknown, previous: unknown) => T
}

/** `default` when it is not set, or `optional` and then undefined, or neither and then required. */
export type SettingOptions<T> = { readonly meaning: string; readonly default?: T; readonly optional?: true; readonly secret?: true }

/** The type of the value: undefined only where the setting is optional. */
export type Value<T, O> = O extends { readonly optional: true } ? T | undefined : T

/** The plain case: one text, one value. */
export function simple<T, const O extends SettingOptions<T>>(
  type: string,
  options: O,
  parse: (text: string) => Parsed<T>,
  show: (value: T) => string = String,
): Setting<Value<T, O>> {
  return {
    type,
    meaning: options.meaning,
    secret: options.secret === true,
    required: options.default === undefined && options.optional !== true,
    defaultText: options.default === undefined ? undefined : show(options.default),
    rotates: false,
    replaced: 'stays',
    fileMayBeAbsent: false,
    parse,
    build: (current) => (current === undefined ? options.default : current) as Value<T, O>,
  }
}

/** A value in rotation. */
export function rotating<T, const O extends { readonly meaning: string; readonly optional?: true; readonly fileMayBeAbsent?: true }>(
  type: string,
  options: O,
  replaced: Replaced,
  parse: (text: string) => Parsed<T>,
): Setting<Value<Rotating<T>, O>> {
  return {
    type,
    meaning: options.meaning,
    secret: true,
    required: options.optional !== true,
    defaultText: undefined,
    rotates: true,
    replaced,
    fileMayBeAbsent: options.fileMayBeAbsent === true,
    parse,
    build: (current, previous) => (current === undefined ? undefined : { current, previous }) as Value<Rotating<T>, O>,
  }
}

export function fits<T>(value: T): Parsed<T> {
  return { ok: true, value }
}

export function breaks(rule: string): Parsed<never> {
  return { ok: false, rule }
}
