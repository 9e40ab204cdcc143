import type { TokenId, ZoneId } from '../id.ts'
import type { UnixMillis } from '../time.ts'

/** Separate rights; none implies another, and none implies `approver` (P-122). `admin` covers all but `approver`. */
export const ROLES = ['viewer', 'operator', 'policy_author', 'approver', 'auditor', 'admin'] as const

export type Role = (typeof ROLES)[number]

/** An operator's or automation's credential for the API. Stored as SHA-256; shown once. */
export type AdminToken = {
  readonly id: TokenId
  readonly name: string
  readonly roles: readonly Role[]
  /** null = global. */
  readonly zone: ZoneId | null
  readonly createdAt: UnixMillis
  readonly expiresAt: UnixMillis
}
