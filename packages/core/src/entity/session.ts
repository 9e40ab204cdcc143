import type { ApplicationId, DelegationId, ResourceId, SessionId, SubjectId, ZoneId } from '../id.ts'
import type { Scope } from '../scope.ts'
import type { UnixMillis } from '../time.ts'
import type { Stored } from './zone.ts'

/** Longest lineage of sessions or delegations (2-model). */
export const MAX_LINEAGE = 10

/** One bounded run of an Application. */
export type Session = Stored & {
  readonly id: SessionId
  readonly zone: ZoneId
  readonly application: ApplicationId
  readonly kind: 'task' | 'service'
  readonly parent: SessionId | null
  /** Root → this session, itself included; at most ten. */
  readonly lineage: readonly SessionId[]
  /** Self-declared: recorded, never trusted alone. */
  readonly labels: readonly string[]
  readonly subject: SubjectId | null
  readonly state: 'active' | 'suspended' | 'ended'
  /** A task's TTL; a service's absolute end. Authority ends here with or without a sweeper. */
  readonly expiresAt: UnixMillis
  /** A service's lease: renewed by heartbeat, fenced by generation. */
  readonly lease: { readonly generation: number; readonly expiresAt: UnixMillis } | null
  readonly endedAt: UnixMillis | null
}

/** Authority over one Resource. */
export type Grant = { readonly resource: ResourceId; readonly scopes: readonly Scope[] }

/** Authority handed from one Session to another, only ever narrower. */
export type Delegation = Stored & {
  readonly id: DelegationId
  readonly zone: ZoneId
  readonly from: SessionId
  readonly fromApplication: ApplicationId
  /** Sessions whose end ends this: the delegator's lineage, root → delegator. */
  readonly fromLineage: readonly SessionId[]
  readonly toApplication: ApplicationId
  /** The session that accepted it. */
  readonly to: SessionId | null
  readonly parent: DelegationId | null
  /** Root → this delegation, itself included; at most ten. */
  readonly lineage: readonly DelegationId[]
  readonly grants: readonly Grant[]
  /** How many further delegations may hang below this one. */
  readonly hops: number
  readonly state: 'offered' | 'active' | 'revoked'
  readonly expiresAt: UnixMillis
}
