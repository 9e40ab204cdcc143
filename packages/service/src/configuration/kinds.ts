import { type KeyRing, keyRing, keyWeakness } from '@caracal/core'
import { certificatesIn } from './certificates.ts'
import { placeholder } from './placeholder.ts'
import { breaks, fits, type Parsed, type Rotating, rotating, type Setting, type SettingOptions, simple, type Value } from './setting.ts'

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

type Bounded<T> = SettingOptions<T> & { readonly min?: number; readonly max?: number }

/** Every kind of setting there is. Durations are milliseconds. */
export const setting = {
  string<const O extends SettingOptions<string> & { readonly pattern?: RegExp; readonly rule?: string }>(
    options: O,
  ): Setting<Value<string, O>> {
    return simple<string, O>('text', options, (text) =>
      options.pattern === undefined || options.pattern.test(text)
        ? fits(text)
        : breaks(options.rule ?? `must match ${options.pattern.source}`),
    )
  },

  /** An absolute URL without trailing slash, credentials and fragment; `schemes` default to http and https. */
  url<const O extends SettingOptions<string> & { readonly schemes?: readonly string[]; readonly credentials?: true }>(
    options: O,
  ): Setting<Value<string, O>> {
    const schemes = options.schemes ?? ['http', 'https']
    return simple<string, O>('url', options, (text) => parseUrl(text, schemes, options.credentials === true))
  },

  /** 0 is any free port. */
  port<const O extends SettingOptions<number>>(options: O): Setting<Value<number, O>> {
    return simple<number, O>('port', options, (text) => wholeNumber(text, 0, 65_535))
  },

  integer<const O extends Bounded<number>>(options: O): Setting<Value<number, O>> {
    const min = options.min ?? 0
    const max = options.max ?? Number.MAX_SAFE_INTEGER
    const range = options.max === undefined ? `integer ≥ ${min}` : `integer ${min}…${max}`
    return simple<number, O>(range, options, (text) => wholeNumber(text, min, max))
  },

  /** A number with its unit: `250ms`, `10s`, `5m`, `1h`, `90d`. `min`, `max` and `default` are milliseconds. */
  duration<const O extends Bounded<number>>(options: O): Setting<Value<number, O>> {
    const min = options.min ?? 0
    const max = options.max ?? Number.MAX_SAFE_INTEGER
    return simple<number, O>('duration', options, (text) => parseDuration(text, min, max), formatDuration)
  },

  boolean<const O extends SettingOptions<boolean>>(options: O): Setting<Value<boolean, O>> {
    return simple<boolean, O>('boolean', options, (text) =>
      text === 'true' ? fits(true) : text === 'false' ? fits(false) : breaks('must be true or false'),
    )
  },

  /** Comma-separated; blanks around items do not count, empty items are errors. */
  list<const O extends SettingOptions<readonly string[]> & { readonly item?: RegExp; readonly rule?: string }>(
    options: O,
  ): Setting<Value<readonly string[], O>> {
    return simple<readonly string[], O>(
      'list',
      options,
      (text) => {
        const items = text.split(',').map((one) => one.trim())
        if (items.some((one) => one === '')) return breaks('has an empty item')
        const { item } = options
        if (item !== undefined && !items.every((one) => item.test(one)))
          return breaks(options.rule ?? `each item must match ${item.source}`)
        return fits(items)
      },
      (items) => items.join(','),
    )
  },

  oneOf<const T extends string, const O extends SettingOptions<T>>(values: readonly T[], options: O): Setting<Value<T, O>> {
    const words = values.join(', ')
    return simple<T, O>(`one of ${words}`, options, (text) => {
      const found = values.find((one) => one === text)
      return found === undefined ? breaks(`must be one of ${words}`) : fits(found)
    })
  },

  /**
   * 32 bytes as 64 hex digits, with `<NAME>_PREVIOUS` while it is in rotation, as a ring. Guessable keys are refused. `seals`: what is
   * stored opens with it, so no file takes it away unless the other key was in use before.
   */
  key<const O extends { readonly meaning: string; readonly optional?: true; readonly seals?: true }>(
    options: O,
  ): Setting<Value<KeyRing, O>> {
    const pair = rotating<Buffer, O>('32 bytes as hex', options, options.seals ? 'demanded' : 'stays', (text) => {
      if (!/^(?:[0-9a-fA-F]{2})+$/.test(text)) return breaks('must be 64 hex digits (32 bytes)')
      const bytes = Buffer.from(text, 'hex')
      const weakness = keyWeakness(bytes)
      return weakness === null ? fits(bytes) : breaks(`${weakness}: make one with \`openssl rand -hex 32\``)
    })
    return {
      ...pair,
      build: (current, previous) =>
        (current === undefined ? undefined : keyRing(current as Buffer, previous as Buffer | undefined)) as Value<KeyRing, O>,
    }
  },

  /** Certificates in PEM, one after another: at least one, and each readable. */
  certificates<const O extends SettingOptions<string>>(options: O): Setting<Value<string, O>> {
    return simple<string, O>('PEM certificates', options, (text) =>
      certificatesIn(text) === undefined ? breaks('must be PEM certificates') : fits(text),
    )
  },
  /**
   * A token or password of at least `minLength` (20) characters that is no placeholder, with `<NAME>_PREVIOUS`. `fileMayBeAbsent`: for
   * what only adds routes; never for what protects something.
   */
  secret<
    const O extends { readonly meaning: string; readonly optional?: true; readonly fileMayBeAbsent?: true; readonly minLength?: number },
  >(options: O): Setting<Value<Rotating<string>, O>> {
    const least = options.minLength ?? 20
    return rotating<string, O>(`secret of ≥ ${least} characters`, options, 'expires', (text) => {
      if (placeholder(text)) return breaks('is a placeholder: put a real value there')
      if (text.length < least) return breaks(`must have at least ${least} characters`)
      return /^[\x21-\x7e]+$/.test(text) ? fits(text) : breaks('must be printable ASCII without blanks')
    })
  },
}

function wholeNumber(text: string, min: number, max: number): Parsed<number> {
  const value = Number(text)
  if (!/^-?\d{1,15}$/.test(text)) return breaks('must be a whole number')
  return value < min || value > max ? breaks(`must be between ${min} and ${max}`) : fits(value)
}

function parseDuration(text: string, min: number, max: number): Parsed<number> {
  const found = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text)
  if (found === null) return breaks('must be a number with its unit: ms, s, m, h or d, e.g. 10s')
  const value = Number(found[1]) * (UNITS[found[2] ?? ''] ?? Number.NaN)
  return value < min || value > max ? breaks(`must be between ${formatDuration(min)} and ${formatDuration(max)}`) : fits(value)
}

/** The largest unit that needs no fraction. */
export function formatDuration(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's']) {
    const size = UNITS[unit] ?? 1
    if (ms !== 0 && ms % size === 0) return `${ms / size}${unit}`
  }
  return ms === 0 ? '0s' : `${ms}ms`
}

function parseUrl(text: string, schemes: readonly string[], credentials: boolean): Parsed<string> {
  const words = `must be a URL with ${schemes.map((one) => `${one}://`).join(' or ')}`
  if (!URL.canParse(text)) return breaks(words)
  const url = new URL(text)
  if (!schemes.includes(url.protocol.slice(0, -1))) return breaks(words)
  if (!credentials && (url.username !== '' || url.password !== '')) return breaks('must not carry a user or password')
  if (url.hash !== '') return breaks('must not have a fragment')
  return fits(url.search === '' ? text.replace(/\/$/, '') : text)
}
