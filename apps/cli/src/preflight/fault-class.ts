import { CliError } from '../cli-error.ts'
import { WANTS_ENCRYPTION } from '../database-error.ts'
import type { FaultClass } from './finding.ts'

const BY_CODE: Readonly<Record<string, FaultClass>> = {
  ENOTFOUND: 'dns',
  EAI_AGAIN: 'dns',
  ECONNREFUSED: 'refused',
  ECONNRESET: 'refused',
  ETIMEDOUT: 'refused',
  EHOSTUNREACH: 'refused',
  ENETUNREACH: 'refused',
  '28P01': 'auth',
  '28000': 'auth',
  '3D000': 'database_missing',
  '42501': 'privilege',
  '25006': 'privilege',
  '53300': 'capacity',
  SELF_SIGNED_CERT_IN_CHAIN: 'tls',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'tls',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'tls',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'tls',
  ERR_TLS_CERT_ALTNAME_INVALID: 'tls',
  CERT_HAS_EXPIRED: 'tls',
  EPROTO: 'tls',
}

const BY_WORDS: readonly (readonly [RegExp, FaultClass])[] = [
  [/WRONGPASS|NOAUTH|invalid password|SASL|password must be a string/i, 'auth'],
  [/NOPERM/, 'privilege'],
  [/does not support SSL|certificate|wrong version number|SSL routines/i, 'tls'],
  [/sslmode/, 'configuration'],
  [/timeout|Connection terminated|Connection is closed|did not answer/i, 'refused'],
]

/** Which fault an error of a store is, whatever driver it comes from. */
export function faultClass(error: unknown): FaultClass {
  if (error instanceof CliError) {
    if (error.code === 'secret_key_missing') return 'secret_key_missing'
    return error.cause === undefined ? 'configuration' : faultClass(error.cause)
  }
  if (error instanceof AggregateError && error.errors.length > 0) return faultClass(error.errors[0])
  if (!(error instanceof Error)) return 'other'
  if (WANTS_ENCRYPTION.test(error.message)) return 'tls'
  const code = (error as { code?: unknown }).code
  const known = typeof code === 'string' ? BY_CODE[code] : undefined
  return known ?? BY_WORDS.find(([pattern]) => pattern.test(error.message))?.[1] ?? 'other'
}
