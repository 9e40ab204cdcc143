import { MigrationChanged } from '@caracal/postgres'
import { CliError } from './cli-error.ts'

/** A part of the address of a database, as the person gave it. */
export type DatabasePart = 'url' | 'host' | 'port' | 'user' | 'password' | 'database' | 'tls'

/** Which database was meant, without its password, and what the person set to say so. */
export type DatabasePlace = {
  readonly host: string
  readonly user: string
  readonly database: string
  /** The setting that holds this part: `DB_PASSWORD`, `the password in DATABASE_URL`. */
  readonly setting: (part: DatabasePart) => string
}

/** The place that a `postgres://` URL names. */
export function placeOf(url: string, setting: DatabasePlace['setting']): DatabasePlace {
  const parsed = URL.parse(url)
  return {
    host: parsed?.host ?? '',
    user: decodeURIComponent(parsed?.username ?? ''),
    database: decodeURIComponent(parsed?.pathname.slice(1) ?? ''),
    setting,
  }
}

/** `the host in DATABASE_URL`, … : the parts of one URL. */
export const partOfUrl =
  (name: string): DatabasePlace['setting'] =>
  (part) =>
    part === 'url' ? name : part === 'tls' ? `sslmode in ${name}` : `the ${part} in ${name}`

type Words = (place: DatabasePlace, message: string) => { readonly message: string; readonly parts: readonly DatabasePart[] }

const unreachable: Words = ({ host }) => ({ message: `Nothing answers as Postgres at ${host}.`, parts: ['host', 'port'] })
const unknownHost: Words = ({ host }) => ({ message: `The host of ${host} is not known.`, parts: ['host'] })
const badLogin: Words = ({ host, user }) => ({ message: `Postgres at ${host} does not let ${user} in.`, parts: ['user', 'password'] })
const unencrypted: Words = ({ host, user }) => ({
  message: `Postgres at ${host} does not let ${user} in without TLS.`,
  parts: ['tls', 'user'],
})
const badTls: Words = ({ host }, message) => ({ message: `TLS with Postgres at ${host} failed: ${message}.`, parts: ['host', 'tls'] })

/** By SQLSTATE or by the code of the system. */
const WORDS: Readonly<Record<string, Words>> = {
  ECONNREFUSED: unreachable,
  ETIMEDOUT: unreachable,
  EHOSTUNREACH: unreachable,
  ENETUNREACH: unreachable,
  ECONNRESET: unreachable,
  ENOTFOUND: unknownHost,
  EAI_AGAIN: unknownHost,
  '28P01': badLogin,
  '28000': badLogin,
  '3D000': ({ host, database }) => ({ message: `Postgres at ${host} has no database ${database}.`, parts: ['database'] }),
  '42501': ({ host, user }, message) => ({ message: `${user} lacks a right at ${host}: ${message}.`, parts: ['user'] }),
  '53300': ({ host }) => ({ message: `Postgres at ${host} has no connection left.`, parts: [] }),
  SELF_SIGNED_CERT_IN_CHAIN: badTls,
  DEPTH_ZERO_SELF_SIGNED_CERT: badTls,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: badTls,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: badTls,
  ERR_TLS_CERT_ALTNAME_INVALID: badTls,
  CERT_HAS_EXPIRED: badTls,
}

/** How a server says that it has no rule for this login without TLS: with the code of a wrong login. */
export const WANTS_ENCRYPTION = /no pg_hba\.conf entry .*\bno encryption\b/

/** Messages of the driver that come without a code. */
const WITHOUT_CODE: readonly (readonly [RegExp, Words])[] = [
  [/timeout/i, unreachable],
  [/does not support SSL/i, badTls],
  [/Connection terminated/i, unreachable],
  [/SASL|password must be a string/i, badLogin],
]

/** What a failed connection means and which setting to look at, in words and without any secret; undefined for everything else. */
export function databaseError(error: unknown, place: DatabasePlace): CliError | undefined {
  if (!(error instanceof Error)) return undefined
  if (error instanceof MigrationChanged) return new CliError(error.message, 'Roll forward with the release that has these migrations.')
  if (error instanceof TypeError && /database URL|^sslmode=/.test(error.message))
    return new CliError(`${error.message}.`, lookAt(place, ['url']), { cause: error })
  const words = wordsFor(error)
  if (words === undefined) return undefined
  const { message, parts } = words(place, error.message)
  return new CliError(message, lookAt(place, parts), { cause: error })
}

function wordsFor(error: Error): Words | undefined {
  if (WANTS_ENCRYPTION.test(error.message)) return unencrypted
  const code = (error as { code?: unknown }).code
  return typeof code === 'string' ? WORDS[code] : WITHOUT_CODE.find(([pattern]) => pattern.test(error.message))?.[1]
}

function lookAt(place: DatabasePlace, parts: readonly DatabasePart[]): string | undefined {
  return parts.length === 0 ? undefined : `Look at ${parts.map(place.setting).join(' and ')}.`
}
