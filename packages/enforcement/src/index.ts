export { decideCall } from './call/decide-call.ts'
export { decideOwnCall, type OwnCall, type OwnCallFacts } from './call/decide-own-call.ts'
export type { CallDependencies, CallFacts, CallVerdict, GovernedCall } from './call/governed-call.ts'
export { type Outcome, type Pipeline, pipeline, type Step } from './call/pipeline.ts'
export { type CompactJws, MAX_TOKEN_LENGTH, parseJws } from './mandate/parse-jws.ts'
export { checkTimes, readClaims } from './mandate/read-claims.ts'
export { keyRefetcher, type Refetched } from './mandate/refetch-keys.ts'
export { type Mandate, type MandateRefusal, type MandateVerifier, mandateVerifier, type VerifierOptions } from './mandate/verify-mandate.ts'
export { type ZoneKeyring, zoneKeyring } from './mandate/zone-keyring.ts'
export { boundLifetime, type Lifetime, type LifetimeBound } from './mint/bound-lifetime.ts'
export { type Ancestry, joinLineage, type Lineage } from './mint/lineage.ts'
export { type Ceiling, delegationCeilings, type Narrowed, narrow } from './mint/narrow.ts'
export { compileOperations, type OperationIndex, type OperationMatch, type OperationRefusal } from './operation/match-operation.ts'
export { parsePath, type RawPath } from './operation/parse-path.ts'
export { type PathTemplate, parsePathTemplate } from './operation/path-template.ts'
export {
  type ConfigurationFollower,
  type ConfigurationOptions,
  type ConfigurationSource,
  followConfiguration,
} from './replica/follow-configuration.ts'
export { ReplicaState } from './replica/replica-state.ts'
export { compileZone, type ZonePolicy, type ZoneState } from './replica/zone-state.ts'
export { type FollowOptions, followRevocations, type RevocationFollower } from './revocation/follow-revocations.ts'
export { postgresRevocations } from './revocation/postgres-revocations.ts'
export { readRevocation } from './revocation/read-revocation.ts'
export { type RevocationSource, snapshotAtTip } from './revocation/revocation-source.ts'
export { type Cut, REVOCATION_RETENTION, RevocationView, type Unfit, type ViewOptions } from './revocation/revocation-view.ts'
