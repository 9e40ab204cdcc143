import type {
  ActivePolicy,
  Application,
  ApplicationCredential,
  ApplicationKey,
  HeldBudget,
  PolicyDocument,
  Provider,
  ProviderId,
  Resource,
  Zone,
  ZoneId,
} from '@caracal/core'
import { sql } from 'kysely'
import { toApplicationKey } from './application-keys.ts'
import { toApplication, toCredential } from './applications.ts'
import { toHeldBudget } from './budgets.ts'
import type { Queryable } from './database.ts'
import { type SealedSecret, sealedSecretOf, toProvider } from './providers.ts'
import { toResource } from './resources.ts'
import { toZoneKey, type ZoneKey } from './zone-keys.ts'
import { toZone } from './zones.ts'

/** Everything the STS holds of a zone. `version` is at most as new as the rest, so that a later change always shows as a newer one. */
export type ZoneConfiguration = {
  readonly zone: Zone
  readonly version: number
  readonly applications: readonly Application[]
  readonly credentials: readonly ApplicationCredential[]
  /** Those that are not revoked. */
  readonly applicationKeys: readonly ApplicationKey[]
  readonly resources: readonly Resource[]
  readonly providers: readonly Provider[]
  readonly budgets: readonly HeldBudget[]
  readonly providerSecrets: ReadonlyMap<ProviderId, SealedSecret>
  /** Next, current and previous keys of every kind. */
  readonly keys: readonly ZoneKey[]
  readonly policy: ActivePolicy | null
}

/**
 * The configuration of all zones, or of one (empty when it does not exist), in nine statements.
 * Throws when an active policy is not whole: a replica then keeps refusing instead of deciding with a part of it.
 */
export async function loadZoneConfiguration(db: Queryable, zone?: ZoneId): Promise<readonly ZoneConfiguration[]> {
  // The version is read first: whatever changes while the rest is read leaves a version behind that is newer than this one.
  const zones = await db
    .selectFrom('zones')
    .leftJoin('policy_heads', 'policy_heads.zone', 'zones.id')
    .leftJoin('policy_set_versions', 'policy_set_versions.id', 'policy_heads.set_version')
    .selectAll('zones')
    .select(['policy_set_versions.id as set_version', 'policy_set_versions.sha256 as set_sha256', 'policy_set_versions.members'])
    .where('zones.archived_at', 'is', null)
    .$if(zone !== undefined, (q) => q.where('zones.id', '=', zone as ZoneId))
    .orderBy('zones.id')
    .execute()
  if (zones.length === 0) return []

  const held = <T extends 'applications' | 'resources' | 'providers' | 'budgets'>(table: T) =>
    sql<{ zone: ZoneId }>`select * from ${sql.table(table)} where archived_at is null ${only(zone)} order by id`
  const applications = byZone((await held('applications').execute(db)).rows as Parameters<typeof toApplication>[0][])
  const resources = byZone((await held('resources').execute(db)).rows as Parameters<typeof toResource>[0][])
  const providers = byZone((await held('providers').execute(db)).rows as Parameters<typeof toProvider>[0][])
  const budgets = byZone((await held('budgets').execute(db)).rows as (Parameters<typeof toHeldBudget>[0] & { zone: ZoneId })[])
  const credentials = byZone(
    await db
      .selectFrom('application_credentials')
      .selectAll()
      .$if(zone !== undefined, (q) => q.where('zone', '=', zone as ZoneId))
      .orderBy('id')
      .execute(),
  )
  const applicationKeys = byZone(
    await db
      .selectFrom('application_keys')
      .selectAll()
      .where('revoked_at', 'is', null)
      .$if(zone !== undefined, (q) => q.where('zone', '=', zone as ZoneId))
      .orderBy('id')
      .execute(),
  )
  const keys = byZone(
    await db
      .selectFrom('zone_keys')
      .selectAll()
      .where('state', '<>', 'retired')
      .$if(zone !== undefined, (q) => q.where('zone', '=', zone as ZoneId))
      .orderBy('created_at')
      .orderBy('kid')
      .execute(),
  )
  const versions = zones.flatMap((row) => (row.members ?? []).map((member) => member.version))
  const canonical = new Map(
    versions.length === 0
      ? []
      : (
          await db.selectFrom('policy_versions').select(['id', 'canonical']).where(sql<boolean>`id = any (${versions}::text[])`).execute()
        ).map((row) => [row.id, row.canonical]),
  )

  return zones.map((row) => ({
    zone: toZone(row),
    version: row.config_version,
    applications: (applications.get(row.id) ?? []).map(toApplication),
    credentials: (credentials.get(row.id) ?? []).map(toCredential),
    applicationKeys: (applicationKeys.get(row.id) ?? []).map(toKeyInForce),
    resources: (resources.get(row.id) ?? []).map(toResource),
    providers: (providers.get(row.id) ?? []).map(toProvider),
    budgets: (budgets.get(row.id) ?? []).map(toHeldBudget),
    providerSecrets: new Map(
      (providers.get(row.id) ?? []).flatMap((provider) => {
        const secret = sealedSecretOf(provider)
        return secret ? [[provider.id, secret] as const] : []
      }),
    ),
    keys: (keys.get(row.id) ?? []).map(toZoneKey),
    policy: activePolicyOf(row, canonical),
  }))
}

/** What a replica needs of it: it is in the configuration as long as it is not revoked. */
function toKeyInForce(row: Parameters<typeof toApplicationKey>[0]): ApplicationKey {
  const { revokedAt: _revokedAt, ...key } = toApplicationKey(row)
  return key
}

type Head = {
  set_version: ActivePolicy['setVersion'] | null
  set_sha256: string | null
  members: readonly { readonly version: string }[] | null
}

function activePolicyOf({ set_version, set_sha256, members }: Head, canonical: ReadonlyMap<string, string>): ActivePolicy | null {
  if (set_version === null || set_sha256 === null || members === null) return null
  const documents = members.map((member) => {
    const text = canonical.get(member.version)
    if (text === undefined) throw new Error(`${set_version} pins ${member.version}, which does not exist`)
    return JSON.parse(text) as PolicyDocument
  })
  return { setVersion: set_version, sha256: set_sha256, documents }
}

function only(zone: ZoneId | undefined) {
  return zone === undefined ? sql`` : sql`and zone = ${zone}`
}

function byZone<R extends { zone: ZoneId }>(rows: readonly R[]): ReadonlyMap<ZoneId, readonly R[]> {
  return Map.groupBy(rows, (row) => row.zone)
}
