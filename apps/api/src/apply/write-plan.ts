import { createHash } from 'node:crypto'
import {
  canonicalJson,
  newId,
  ok,
  type PolicySetMember,
  type Refusal,
  type Result,
  refuse,
  type UnixMillis,
  type ZoneId,
} from '@caracal/core'
import {
  activatePolicySetVersion,
  addPolicySetVersion,
  addPolicyVersion,
  createApplication,
  createBudget,
  createPolicy,
  createPolicySet,
  createProvider,
  createResource,
  createZone,
  findPolicySetByName,
  type Queryable,
  updateApplication,
  updateBudget,
  updateProvider,
  updateResource,
  updateZone,
} from '@caracal/postgres'
import type { Change, ChangeEvent } from '../change/commit-change.ts'
import type { PolicyWrite, SetWrite } from './plan-policies.ts'
import type { PlannedRow, RowWrite } from './plan-row.ts'

/** The set that `apply` keeps. */
const DEFAULT_SET = 'default'

export type Written = { readonly events: readonly ChangeEvent[]; readonly activated: NonNullable<Change['activated']> }

/** Writes one row of a plan. Refuses what changed since the plan was made. */
export async function writeRow(
  tx: Queryable,
  zone: ZoneId,
  { step, write }: PlannedRow,
  now: UnixMillis,
): Promise<Result<readonly ChangeEvent[]>> {
  if (step.action === 'unchanged' || step.action === 'revoked') return ok([])
  const written = await rowOf(tx, zone, write, now)
  // Another apply may have made the same name in between; planned anew it is an update.
  if (!written.ok) return refuse('version_moved', `${step.kind} ${step.name} was changed at the same time`)
  return ok([
    {
      zone,
      type: 'admin.changed',
      target: { kind: write.kind, id: write.id, name: step.name },
      details: { action: step.action, ...(step.changes.length > 0 ? { fields: fieldNames(step.changes) } : {}) },
    },
  ])
}

async function rowOf(tx: Queryable, zone: ZoneId, write: RowWrite, now: UnixMillis): Promise<Result<unknown>> {
  switch (write.kind) {
    case 'zone':
      return write.version === undefined
        ? createZone(tx, { id: write.id, ...write.fields }, now)
        : updateZone(tx, { id: write.id, version: write.version }, write.fields, now)
    case 'application':
      return write.version === undefined
        ? createApplication(tx, { id: write.id, zone, ...write.fields }, now)
        : updateApplication(tx, { id: write.id, zone, version: write.version }, write.fields, now)
    case 'provider': {
      const { id, fields, secret } = write
      if (write.version === undefined) return createProvider(tx, { id, zone, ...fields, secret: secret ?? null }, now)
      return updateProvider(tx, { id, zone, version: write.version }, { ...fields, ...(secret === undefined ? {} : { secret }) }, now)
    }
    case 'budget':
      return write.version === undefined
        ? createBudget(tx, { ...write.fields, id: write.id, zone }, now)
        : updateBudget(tx, { id: write.id, zone, version: write.version }, write.fields, now)
    case 'resource':
      return write.version === undefined
        ? createResource(tx, { ...write.fields, id: write.id, zone }, now)
        : updateResource(tx, { id: write.id, zone, version: write.version }, write.fields, now)
  }
}

/** The words of a plan may show old and new values; evidence names the fields only. */
function fieldNames(changes: readonly string[]): string[] {
  return [...new Set(changes.map((change) => change.split(':')[0] ?? change))]
}

/** Makes a policy version, and its policy when it is new; gives the version that carries this content. */
async function writePolicy(
  tx: Queryable,
  zone: ZoneId,
  write: PolicyWrite,
  by: string,
  now: UnixMillis,
): Promise<Result<{ readonly member: PolicySetMember; readonly events: readonly ChangeEvent[] }>> {
  if (write.fresh) {
    const made = await createPolicy(tx, { id: write.policy, zone, name: write.name }, now)
    if (!made.ok) return refuse('version_moved', `Policy ${write.name} was made at the same time`)
  }
  const added = await addPolicyVersion(tx, { ...write.version, zone, policy: write.policy, createdBy: by }, now)
  if (!added.ok) return added
  const { version, created } = added.value
  const event: ChangeEvent = {
    zone,
    type: 'admin.changed',
    target: { kind: 'policy', id: write.policy, name: write.name },
    details: { action: write.fresh ? 'create' : 'update', version: version.id, sha256: version.sha256 },
  }
  return ok({ member: { policy: write.policy, version: version.id, sha256: version.sha256 }, events: created ? [event] : [] })
}

/** Makes the policy versions and the set version that pins them, and activates it unless told not to. */
export async function writePolicies(
  tx: Queryable,
  zone: ZoneId,
  policies: readonly PolicyWrite[],
  set: SetWrite | undefined,
  by: string,
  now: UnixMillis,
): Promise<Result<Written>> {
  const events: ChangeEvent[] = []
  const pinned: PolicySetMember[] = []
  for (const policy of policies) {
    const written = await writePolicy(tx, zone, policy, by, now)
    if (!written.ok) return written
    pinned.push(written.value.member)
    events.push(...written.value.events)
  }
  if (set === undefined) return ok({ events, activated: [] })
  const members = [...set.keep, ...pinned]
  const activated = await writeSetVersion(tx, { zone, members, expected: set.activate ? set.expected : null, by }, now)
  if (!activated.ok) return activated
  return ok({ events: [...events, ...activated.value.events], activated: activated.value.activated })
}

/** A version of the default set with these members, active when the zone's generation still is `expected`; null: not activated. */
export async function writeSetVersion(
  tx: Queryable,
  what: { readonly zone: ZoneId; readonly members: readonly PolicySetMember[]; readonly expected: number | null; readonly by: string },
  now: UnixMillis,
): Promise<Result<Written>> {
  const { zone, expected, by } = what
  const set = (await findPolicySetByName(tx, zone, DEFAULT_SET)) ?? (await madeDefaultSet(tx, zone, now))
  if ('reason' in set) return set
  const members = [...what.members].sort((a, b) => (a.policy < b.policy ? -1 : 1))
  const sha256 = createHash('sha256').update(canonicalJson(members)).digest('hex')
  const added = await addPolicySetVersion(
    tx,
    { id: newId('policySetVersion', now), zone, policySet: set.id, members, sha256, createdBy: by },
    now,
  )
  if (!added.ok) return added
  const { version } = added.value
  if (expected === null) return ok({ events: [], activated: [] })
  const active = await activatePolicySetVersion(tx, { zone, setVersion: version.id, expected, by }, now)
  if (!active.ok) return active
  return ok({ events: [activationEvent(zone, version, active.value.generation)], activated: [{ zone, setVersion: version.id, sha256 }] })
}

async function madeDefaultSet(tx: Queryable, zone: ZoneId, now: UnixMillis) {
  const made = await createPolicySet(tx, { id: newId('policySet', now), zone, name: DEFAULT_SET }, now)
  return made.ok ? made.value : (refuse('version_moved', 'the policy set was made at the same time') as Refusal)
}

/** Evidence of an activation. */
export function activationEvent(zone: ZoneId, version: { readonly id: string; readonly sha256: string }, generation: number): ChangeEvent {
  return {
    zone,
    type: 'policy.activated',
    target: { kind: 'policy_set_version', id: version.id },
    details: { sha256: version.sha256, generation },
  }
}
