import {
  type Application,
  type Budget,
  type PolicyDocument,
  type PolicyId,
  type PolicySetMember,
  type PolicySetVersionId,
  type Provider,
  type ProviderId,
  policyFromJson,
  type Resource,
  type Zone,
  type ZoneId,
} from '@caracal/core'
import {
  activePolicy,
  findPolicySetVersion,
  findPolicyVersions,
  listBudgets,
  listPolicyHashes,
  listProviderSecrets,
  loadZoneConfiguration,
  type Queryable,
  standingRevocations,
} from '@caracal/postgres'

/** A policy that is active, with the text that decides. */
export type ActiveMember = PolicySetMember & { readonly document: PolicyDocument }

/** What a zone holds before documents are applied to it. */
export type Holdings = {
  readonly zone: Zone
  readonly applications: readonly Application[]
  readonly providers: readonly Provider[]
  readonly resources: readonly Resource[]
  readonly budgets: readonly Budget[]
  /** Ids of the zone and of what it holds that are revoked. */
  readonly revoked: ReadonlySet<string>
  readonly secrets: ReadonlyMap<ProviderId, { readonly version: number; readonly digest: string | null }>
  readonly policies: readonly { readonly id: PolicyId; readonly name: string; readonly sha256: string | null }[]
  readonly active: {
    readonly generation: number
    readonly setVersion: PolicySetVersionId
    readonly members: readonly ActiveMember[]
  } | null
}

/** Documents name far fewer; those of sessions are made by whoever starts them. */
const MOST_BUDGETS = 100_000

/** Reads a zone; undefined when it is gone. */
export async function readHoldings(db: Queryable, id: ZoneId): Promise<Holdings | undefined> {
  const [configuration] = await loadZoneConfiguration(db, id)
  if (configuration === undefined) return undefined
  const { zone, applications, providers, resources } = configuration
  const { items: budgets } = await listBudgets(db, id, { limit: MOST_BUDGETS })
  const policies = await listPolicyHashes(db, id)
  const active = await readActive(db, id)
  const revoked = new Set((await standingRevocations(db, id)).map((revocation) => revocation.id))
  return { zone, applications, providers, resources, budgets, revoked, secrets: await listProviderSecrets(db, id), policies, active }
}

/** The active set version with its documents; null before the first activation. */
export async function readActive(db: Queryable, zone: ZoneId): Promise<Holdings['active']> {
  const head = await activePolicy(db, zone)
  if (head === undefined) return null
  const set = await findPolicySetVersion(db, zone, head.setVersion)
  return { generation: head.generation, setVersion: head.setVersion, members: await readMembers(db, zone, set?.members ?? []) }
}

/** Throws when a version is missing or does not parse: an active policy is whole or the zone refuses everything. */
export async function readMembers(db: Queryable, zone: ZoneId, members: readonly PolicySetMember[]): Promise<readonly ActiveMember[]> {
  const versions = await findPolicyVersions(
    db,
    zone,
    members.map((member) => member.version),
  )
  const byId = new Map(versions.map((version) => [version.id, version]))
  return members.map((member) => {
    const version = byId.get(member.version)
    const parsed = version === undefined ? undefined : policyFromJson(JSON.parse(version.canonical))
    if (parsed?.ok !== true) throw new Error(`policy version ${member.version} of zone ${zone} cannot be read`)
    return { ...member, document: parsed.value }
  })
}
