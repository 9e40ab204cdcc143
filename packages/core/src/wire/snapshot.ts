import type { Application, ApplicationCredential, PublicJwk } from '../entity/application.ts'
import type { ApplicationKey } from '../entity/application-key.ts'
import type { HeldBudget } from '../entity/budget.ts'
import type { Provider } from '../entity/provider.ts'
import type { Resource } from '../entity/resource.ts'
import type { Revocation } from '../entity/revocation.ts'
import type { PolicySetVersionId, ZoneId } from '../id.ts'
import type { PolicyDocument } from '../policy/document.ts'
import type { UnixMillis } from '../time.ts'

/** The policies a zone decides with: one immutable set version. */
export type ActivePolicy = {
  readonly setVersion: PolicySetVersionId
  /** Content hash of the set version (hex). */
  readonly sha256: string
  readonly documents: readonly PolicyDocument[]
}

/** Everything a deciding replica must know of one zone; `version` moves with every change of any of it. */
export type ZoneSnapshot = {
  readonly id: ZoneId
  readonly name: string
  readonly labels: readonly string[]
  readonly issuer: string
  /** Former issuers still accepted. */
  readonly issuerAliases: readonly string[]
  /** Public signing keys: next, current, previous. */
  readonly keys: readonly PublicJwk[]
  readonly version: number
  readonly applications: readonly Application[]
  /** Those that are not revoked. Absent from an STS of a release that has none. */
  readonly applicationKeys?: readonly ApplicationKey[]
  readonly resources: readonly Resource[]
  readonly providers: readonly Provider[]
  /** Absent from an STS that knows no budgets. */
  readonly budgets?: readonly HeldBudget[]
  readonly policy: ActivePolicy | null
}

/** What only the STS holds beside it. */
export type ZoneCredentials = { readonly zone: ZoneId; readonly credentials: readonly ApplicationCredential[] }

/** Revocations that can still matter, and the position of the broadcast stream noted before they were read. */
export type RevocationSnapshot = {
  readonly position: string
  readonly entries: readonly Revocation[]
}

/** `POST /internal/snapshot` at the STS: answer. */
export type ReplicaSnapshot = {
  readonly v: 1
  readonly at: UnixMillis
  readonly zones: readonly ZoneSnapshot[]
  readonly revocations: RevocationSnapshot
}

/** `POST /internal/sync` at the STS: a replica says what it serves and learns what is current. */
export type SyncRequest = {
  readonly v: 1
  readonly replica: string
  readonly role: string
  readonly loaded: Readonly<
    Record<ZoneId, { readonly version: number; readonly policy: PolicySetVersionId | null; readonly error?: string }>
  >
  /** Set when the broadcast is silent: send the revocations since then. */
  readonly revocationsSince?: UnixMillis
  /** Answer only after a comparison with Postgres, or not at all: what the source itself could not confirm does not count. */
  readonly proof?: true
}

export type SyncAnswer = {
  readonly v: 1
  readonly at: UnixMillis
  readonly zones: Readonly<Record<ZoneId, { readonly version: number; readonly policy: PolicySetVersionId | null }>>
  readonly revocations?: readonly Revocation[]
}
