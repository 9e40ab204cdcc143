import {
  type Actor,
  CLOCK_SKEW,
  type IdKind,
  isId,
  MAX_LINEAGE,
  MAX_MANDATE_LIFE,
  type MandateClaims,
  ok,
  parseScopes,
  type Result,
  refuse,
  type UnixSeconds,
} from '@caracal/core'
import { isRecord } from './parse-jws.ts'

type Payload = Readonly<Record<string, unknown>>

/** RFC 8693 §4.1: how deep a chain of actors may be (P-018). */
const MAX_ACTORS = 10
const MAX_TEXT = 2048
/** Delegators of one lineage and clients of the mandates it was exchanged from: ten each at most. */
const MAX_PRINCIPALS = 20

/**
 * Whether this is the payload of a mandate: every required claim is there and typed, every optional one is typed when there.
 * An absent claim refuses, it never skips a check (P-014). The refusal names the claim. Pure form: nothing about time or keys.
 */
export function readClaims(payload: Payload): Result<MandateClaims, 'invalid_token'> {
  for (const [name, holds] of Object.entries(required)) if (!holds(payload[name])) return refuse('invalid_token', name)
  for (const [name, holds] of Object.entries(optional))
    if (payload[name] !== undefined && !holds(payload[name])) return refuse('invalid_token', name)
  const claims = payload as MandateClaims
  if (claims.ses !== undefined && claims.ctx?.session === undefined) return refuse('invalid_token', 'ctx.session')
  if (claims.dlg !== undefined && !claims.ctx?.principals?.length) return refuse('invalid_token', 'ctx.principals')
  if (isId('subject', claims.sub) && claims.ctx?.subject === undefined) return refuse('invalid_token', 'ctx.subject')
  return ok(claims)
}

const required: Readonly<Record<string, (value: unknown) => boolean>> = {
  iss: isText,
  sub: (value) => isId('application', value) || isId('subject', value),
  aud: isText,
  client_id: (value) => isId('application', value),
  scope: (value) => typeof value === 'string' && value.length <= 8192 && parseScopes(value).ok,
  iat: isTime,
  nbf: isTime,
  exp: isTime,
  jti: (value) => isId('mandate', value),
  zone: (value) => isId('zone', value),
  txn: (value) => isId('transaction', value),
}

const optional: Readonly<Record<string, (value: unknown) => boolean>> = {
  ses: lineageOf('session'),
  dlg: lineageOf('delegation'),
  mnd: lineageOf('mandate'),
  act: (value) => isActor(value, 1),
  cnf: isConfirmation,
  authorization_details: Array.isArray,
  once: (value) => value === true,
  ctx: isContext,
}

/**
 * Whether the mandate is in force at `now`. `nbf` and `iat` may lie up to 60 s ahead of this clock (P-014); `exp` gets no
 * leeway, because a mandate never outlives what it stands on (P-001). A life over 900 s is not one of ours.
 */
export function checkTimes(
  claims: MandateClaims,
  now: UnixSeconds,
): Result<MandateClaims, 'invalid_token' | 'token_expired' | 'token_not_yet_valid'> {
  if (claims.exp <= claims.iat || claims.exp - claims.iat > MAX_MANDATE_LIFE) return refuse('invalid_token', 'exp')
  if (claims.iat > now + CLOCK_SKEW) return refuse('token_not_yet_valid', 'iat')
  if (claims.nbf > now + CLOCK_SKEW) return refuse('token_not_yet_valid', 'nbf')
  if (claims.exp <= now) return refuse('token_expired')
  return ok(claims)
}

function isText(value: unknown): boolean {
  return typeof value === 'string' && value.length > 0 && value.length <= MAX_TEXT
}

function isTime(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) > 0
}

function lineageOf(kind: IdKind): (value: unknown) => boolean {
  return (value) => Array.isArray(value) && value.length > 0 && value.length <= MAX_LINEAGE && value.every((id) => isId(kind, id))
}

function isActor(value: unknown, depth: number): value is Actor {
  if (!isRecord(value) || depth > MAX_ACTORS || !isText(value.sub)) return false
  return value.act === undefined || isActor(value.act, depth + 1)
}

function isConfirmation(value: unknown): boolean {
  if (!isRecord(value)) return false
  const names = Object.keys(value)
  return names.length > 0 && names.every((name) => (name === 'jkt' || name === 'x5t#S256') && isText(value[name]))
}

/** Without it a rule about sessions or subjects would look at nothing and not match: a `deny` among them would be lost. */
function isContext(value: unknown): boolean {
  if (!isRecord(value)) return false
  const { session, subject, principals } = value
  if (session !== undefined && !isSession(session)) return false
  if (subject !== undefined && !(isRecord(subject) && isText(subject.issuer) && isRecord(subject.claims))) return false
  return principals === undefined || (Array.isArray(principals) && principals.length <= MAX_PRINCIPALS && principals.every(isPrincipal))
}

function isSession(value: unknown): value is Payload {
  if (!isRecord(value) || (value.kind !== 'task' && value.kind !== 'service')) return false
  if (!Number.isSafeInteger(value.depth) || Number(value.depth) < 1) return false
  return Array.isArray(value.labels) && value.labels.every((label) => typeof label === 'string')
}

function isPrincipal(value: unknown): boolean {
  if (!isRecord(value) || !isId('application', value.application)) return false
  if (!Number.isSafeInteger(value.depth) || Number(value.depth) < 0) return false
  return value.session === undefined || (isSession(value.session) && isId('session', value.session.id))
}
