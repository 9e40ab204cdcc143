import type { PolicyId, PolicySetId, PolicySetVersionId, PolicyVersionId, ZoneId } from '../id.ts'
import type { UnixMillis } from '../time.ts'
import type { Stored } from './zone.ts'

/** A named sequence of immutable versions. */
export type Policy = Stored & { readonly id: PolicyId; readonly zone: ZoneId; readonly name: string }

/** What was written at one moment. Same content, same version. */
export type PolicyVersion = {
  readonly id: PolicyVersionId
  readonly zone: ZoneId
  readonly policy: PolicyId
  /** Counts from 1 within the policy. */
  readonly number: number
  /** The text as it was written. */
  readonly source: string
  /** RFC 8785 form of the parsed document. */
  readonly canonical: string
  /** SHA-256 of `canonical`, hex. */
  readonly sha256: string
  readonly createdAt: UnixMillis
  readonly createdBy: string
}

export type PolicySet = Stored & { readonly id: PolicySetId; readonly zone: ZoneId; readonly name: string }

/** A policy version pinned by its content. */
export type PolicySetMember = { readonly policy: PolicyId; readonly version: PolicyVersionId; readonly sha256: string }

/** What can be active: policy versions pinned together. Immutable. */
export type PolicySetVersion = {
  readonly id: PolicySetVersionId
  readonly zone: ZoneId
  readonly policySet: PolicySetId
  /** Counts from 1 within the set. */
  readonly number: number
  /** Ordered by policy id. */
  readonly members: readonly PolicySetMember[]
  /** SHA-256 of the RFC 8785 form of the members, hex. */
  readonly sha256: string
  readonly createdAt: UnixMillis
  readonly createdBy: string
}

/** The set version that a zone decides with; `generation` counts activations and is what compare-and-swap compares. */
export type PolicyActivation = {
  readonly zone: ZoneId
  readonly setVersion: PolicySetVersionId
  readonly generation: number
  readonly activatedAt: UnixMillis
  readonly activatedBy: string
}
