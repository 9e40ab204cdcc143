import type { ZoneId } from '../id.ts'
import type { UnixMillis } from '../time.ts'

/** What can be revoked by one published id. */
export const REVOCATION_KINDS = [
  'mandate',
  'session',
  'delegation',
  'application',
  'credential',
  'subject',
  'connection',
  'resource',
  'provider',
  'zone',
] as const

export type RevocationKind = (typeof REVOCATION_KINDS)[number]

/** The one message that carries every kind. `lift` undoes a suspension; everything else is for good. */
export type Revocation = {
  readonly v: 1
  readonly op: 'revoke' | 'lift'
  readonly kind: RevocationKind
  readonly id: string
  readonly zone: ZoneId
  readonly at: UnixMillis
  readonly reason: string
}
