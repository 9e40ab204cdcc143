import { AHEAD, JWT_ALGORITHMS, type JwtAlgorithm, readJwtKeys } from '@caracal/enforcement'
import { type ConfigurationProblem, formatDuration, setting, type Values } from '@caracal/service'

/** How callers prove who they are. */
export const AUTH_MODES = ['mandate', 'jwt', 'mtls', 'api_key'] as const

export type AuthMode = (typeof AUTH_MODES)[number]

/** How callers prove who they are, and what keeps a request from counting twice; every enforcement point takes them. */
export const authSettings = {
  AUTH_MODE: setting.oneOf(AUTH_MODES, {
    meaning:
      'What callers present: a mandate of the STS, a JWT of another issuer, a client certificate, or X-API-Key. What they may do is decided alike.',
    default: 'mandate',
  }),
  AUTH_ZONE: setting.string({
    meaning: 'Name or id of the one zone whose applications may call with a JWT, certificate or API key; unset = any zone.',
    optional: true,
  }),
  JWT_ALGORITHM: setting.oneOf(JWT_ALGORITHMS, {
    meaning: 'With AUTH_MODE=jwt: the one algorithm that is accepted, whatever a token says.',
    default: 'RS256',
  }),
  JWT_PUBLIC_KEY: {
    ...setting.string({
      meaning: 'With AUTH_MODE=jwt: public keys in PEM, or a JWK Set; each of them is accepted. Best as `JWT_PUBLIC_KEY_FILE`.',
      optional: true,
    }),
    // A deployment may name the file and not use it: only AUTH_MODE=jwt demands it.
    fileMayBeAbsent: true,
  },
  JWT_ISSUER: setting.string({ meaning: 'The `iss` that tokens must have; unset = any, with a warning.', optional: true }),
  JWT_AUDIENCE: setting.string({ meaning: 'The `aud` that tokens must have; unset = any, with a warning.', optional: true }),
  JWT_APPLICATION_CLAIM: setting.string({
    meaning:
      'The claim that names the application, by id, or by name where there is one zone; unset = the first there is of client_id, azp, sub.',
    pattern: /^[A-Za-z0-9_:./-]{1,128}$/,
    rule: 'must be the name of a claim',
    optional: true,
  }),
  JWT_SKEW: setting.duration({ meaning: 'By how much the clock of an issuer may differ.', min: 0, max: 60_000, default: 60_000 }),
  REPLAY_PROTECTION: setting.boolean({
    meaning:
      'With a JWT, certificate or API key: every request carries X-Caracal-Nonce and X-Caracal-Timestamp, or a JWT for one call, and counts once at all replicas.',
    default: true,
  }),
  REPLAY_WINDOW: setting.duration({ meaning: 'How old a request may be.', min: 1_000, max: 3_600_000, default: 300_000 }),
  REPLAY_NONCE_TTL: setting.duration({
    meaning: 'How long a nonce is remembered; at least REPLAY_WINDOW and the minute that clocks may differ.',
    min: 61_000,
    max: 7_200_000,
    default: 360_000,
  }),
  REPLAY_CACHE_SIZE: setting.integer({
    meaning: 'Nonces that a replica knows by itself, without asking the store; the store decides about all others.',
    min: 0,
    max: 10_000_000,
    default: 100_000,
  }),
} as const

export type AuthConfiguration = Values<typeof authSettings>

/** What of these settings does not fit together. */
export function authProblems(values: {
  readonly AUTH_MODE: AuthMode
  readonly JWT_ALGORITHM: JwtAlgorithm
  readonly JWT_PUBLIC_KEY: string | undefined
  readonly REPLAY_NONCE_TTL: number
  readonly REPLAY_WINDOW: number
}): ConfigurationProblem[] {
  const problems: ConfigurationProblem[] = []
  const least = values.REPLAY_WINDOW + AHEAD * 1000
  if (values.REPLAY_NONCE_TTL < least) {
    const rule = `must be at least REPLAY_WINDOW and 60s (${formatDuration(least)}): a nonce that is forgotten sooner could come again`
    problems.push({ name: 'REPLAY_NONCE_TTL', rule })
  }
  if (values.AUTH_MODE !== 'jwt') return problems
  if (values.JWT_PUBLIC_KEY === undefined) {
    problems.push({ name: 'JWT_PUBLIC_KEY', rule: 'is required with AUTH_MODE=jwt, or JWT_PUBLIC_KEY_FILE with a file that is there' })
    return problems
  }
  const read = readJwtKeys(values.JWT_PUBLIC_KEY, values.JWT_ALGORITHM)
  if ('fault' in read) problems.push({ name: 'JWT_PUBLIC_KEY', rule: read.fault })
  return problems
}
