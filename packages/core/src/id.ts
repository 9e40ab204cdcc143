import { randomBytes } from 'node:crypto'
import type { UnixMillis } from './time.ts'

/** Every kind of id, by the noun it names (TypeID: prefix, underscore, UUIDv7 in Crockford base32). */
export const ID_PREFIXES = {
  zone: 'zon',
  application: 'app',
  subject: 'sub',
  session: 'ses',
  delegation: 'dlg',
  resource: 'res',
  provider: 'prv',
  connection: 'con',
  policy: 'pol',
  policyVersion: 'plv',
  policySet: 'pst',
  policySetVersion: 'psv',
  mandate: 'mnd',
  approval: 'apr',
  budget: 'bdg',
  event: 'evt',
  token: 'tok',
  request: 'req',
  transaction: 'txn',
  credential: 'crd',
  revocation: 'rvk',
} as const

export type IdKind = keyof typeof ID_PREFIXES

export type Id<K extends IdKind = IdKind> = `${(typeof ID_PREFIXES)[K]}_${string}`

export type ZoneId = Id<'zone'>
export type ApplicationId = Id<'application'>
export type SubjectId = Id<'subject'>
export type SessionId = Id<'session'>
export type DelegationId = Id<'delegation'>
export type ResourceId = Id<'resource'>
export type ProviderId = Id<'provider'>
export type PolicyId = Id<'policy'>
export type PolicyVersionId = Id<'policyVersion'>
export type PolicySetId = Id<'policySet'>
export type PolicySetVersionId = Id<'policySetVersion'>
export type MandateId = Id<'mandate'>
export type ApprovalId = Id<'approval'>
export type BudgetId = Id<'budget'>
export type EventId = Id<'event'>
export type TokenId = Id<'token'>
export type RequestId = Id<'request'>
export type TransactionId = Id<'transaction'>
export type CredentialId = Id<'credential'>

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'
const SUFFIX = /^[0-7][0-9a-hjkmnp-tv-z]{25}$/

/** 128 bits as 26 characters, most significant first (TypeID specification v0.3). */
function encodeBase32(bytes: Uint8Array): string {
  let out = ''
  let buffer = 0
  let bits = 2 // 128 bits in 26 × 5: the first character carries three.
  for (const byte of bytes) {
    buffer = (buffer << 8) | byte
    bits += 8
    while (bits >= 5) {
      bits -= 5
      out += ALPHABET[(buffer >>> bits) & 31]
    }
    buffer &= (1 << bits) - 1
  }
  return out
}

/** Random bytes are drawn in one block for many ids: one system call for each id would show in the hot path. */
const pool = { bytes: Buffer.alloc(0), at: 0 }

function randomTail(): Uint8Array {
  if (pool.at + 10 > pool.bytes.length) {
    pool.bytes = randomBytes(10 * 256)
    pool.at = 0
  }
  pool.at += 10
  return pool.bytes.subarray(pool.at - 10, pool.at)
}

/**
 * A new id: time-ordered by millisecond (UUIDv7, RFC 9562 §5.7), 74 random bits.
 * `now` and `random` (10 bytes) come in so that a test can have the same id twice.
 */
export function newId<K extends IdKind>(kind: K, now: UnixMillis = Date.now(), random: Uint8Array = randomTail()): Id<K> {
  const bytes = new Uint8Array(16)
  bytes[0] = now / 2 ** 40
  bytes[1] = now / 2 ** 32
  bytes[2] = now / 2 ** 24
  bytes[3] = now / 2 ** 16
  bytes[4] = now / 2 ** 8
  bytes[5] = now
  bytes.set(random, 6)
  bytes[6] = 0x70 | ((bytes[6] ?? 0) & 0x0f)
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f)
  return `${ID_PREFIXES[kind]}_${encodeBase32(bytes)}` as Id<K>
}

/** Whether `text` is an id of this kind in its one canonical spelling (lower case, 26 characters). */
export function isId<K extends IdKind>(kind: K, text: unknown): text is Id<K> {
  return typeof text === 'string' && text.startsWith(`${ID_PREFIXES[kind]}_`) && SUFFIX.test(text.slice(ID_PREFIXES[kind].length + 1))
}

/** Whether `text` looks like an id of any kind: a name or identifier must not (P-020). */
export function looksLikeId(text: string): boolean {
  return /^[a-z]{3}_[0-9a-z]{26}$/i.test(text)
}
