import {
  type Application,
  type ApplicationId,
  type CompiledPolicies,
  compilePolicies,
  type PolicySetVersionId,
  type Provider,
  type ProviderId,
  type Resource,
  type ResourceId,
  type Result,
  type ZoneSnapshot,
} from '@caracal/core'
import { type ZoneKeyring, zoneKeyring } from '../mandate/zone-keyring.ts'
import { compileOperations, type OperationIndex } from '../operation/match-operation.ts'
import { DecisionMemory } from './decision-memory.ts'

/** `failed` refuses the zone with `policy_unavailable`: neither the version before nor an empty one is served (P-024). */
export type ZonePolicy =
  | { readonly kind: 'active'; readonly setVersion: PolicySetVersionId; readonly sha256: string; readonly compiled: CompiledPolicies }
  | { readonly kind: 'none' }
  | { readonly kind: 'failed'; readonly error: string }

/** One version of a zone, made ready for deciding. Immutable: another version is another state, and what was cached with it goes. */
export type ZoneState = {
  readonly snapshot: ZoneSnapshot
  readonly keyring: ZoneKeyring
  readonly applications: ReadonlyMap<ApplicationId, Application>
  readonly applicationsByName: ReadonlyMap<string, Application>
  readonly resources: ReadonlyMap<ResourceId, Resource>
  readonly resourcesByName: ReadonlyMap<string, Resource>
  readonly resourcesByIdentifier: ReadonlyMap<string, Resource>
  readonly providers: ReadonlyMap<ProviderId, Provider>
  readonly operations: ReadonlyMap<ResourceId, Result<OperationIndex>>
  /** Who has a budget, and whether one of them counts every call or only those with a price. */
  readonly budgets: ReadonlyMap<string, 'calls' | 'money'>
  readonly policy: ZonePolicy
  /** Decisions that no call changes, by mandate and scope: they live as long as this state, up to so many (P-075). */
  readonly decisions: DecisionMemory
}

/** Decisions that a state remembers unless told otherwise. */
export const DECISIONS = 20_000

/** Compiles a snapshot. An unchanged keyring of `previous` is kept, so that verified mandates stay verified. */
export function compileZone(snapshot: ZoneSnapshot, previous?: ZoneState | undefined, remembers = DECISIONS): ZoneState {
  const { applications, resources, providers } = snapshot
  return {
    snapshot,
    keyring: zoneKeyring(snapshot, previous?.keyring),
    applications: new Map(applications.map((application) => [application.id, application])),
    applicationsByName: new Map(applications.map((application) => [application.name, application])),
    resources: new Map(resources.map((resource) => [resource.id, resource])),
    resourcesByName: new Map(resources.map((resource) => [resource.name, resource])),
    resourcesByIdentifier: new Map(resources.map((resource) => [resource.identifier, resource])),
    providers: new Map(providers.map((provider) => [provider.id, provider])),
    operations: new Map(resources.map((resource) => [resource.id, compileOperations(resource)])),
    budgets: holdersOf(snapshot),
    policy: compilePolicy(snapshot, previous),
    decisions: new DecisionMemory(remembers),
  }
}

function holdersOf({ budgets = [] }: ZoneSnapshot): ReadonlyMap<string, 'calls' | 'money'> {
  const holders = new Map<string, 'calls' | 'money'>()
  for (const { holder, currency } of budgets)
    if (holders.get(holder) !== 'calls') holders.set(holder, currency === null ? 'calls' : 'money')
  return holders
}

function compilePolicy({ policy }: ZoneSnapshot, previous: ZoneState | undefined): ZonePolicy {
  if (policy === null) return { kind: 'none' }
  const before = previous?.policy
  if (before?.kind === 'active' && before.setVersion === policy.setVersion && before.sha256 === policy.sha256) return before
  try {
    const compiled = compilePolicies(policy.documents)
    if (!compiled.ok) return { kind: 'failed', error: compiled.detail }
    return { kind: 'active', setVersion: policy.setVersion, sha256: policy.sha256, compiled: compiled.value }
  } catch (error) {
    // Whatever goes wrong in loading is no permission and no empty policy.
    return { kind: 'failed', error: error instanceof Error ? error.message : String(error) }
  }
}
