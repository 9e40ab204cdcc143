import { type Clock, type PublicJwk, type SyncRequest, type ZoneId, type ZoneSnapshot, zoneIssuer } from '@caracal/core'
import type { ConfigurationSource } from '@caracal/enforcement'
import { type Database, loadZoneConfiguration, recordReplicas, type ZoneConfiguration, zoneVersions } from '@caracal/postgres'

export type Issuers = {
  readonly issuerUrl: string
  /** Former issuer URLs whose mandates are still accepted (P-021). */
  readonly issuerAliases: readonly string[]
}

/** Zones as Postgres has them. What this replica serves is noted for the activation status, because it decides with policy too (P-023). */
export function configurationFromPostgres(database: Database, issuers: Issuers, clock: Clock): ConfigurationSource {
  return {
    async snapshot(zones) {
      const found: ZoneSnapshot[] = []
      if (zones === undefined) {
        for (const one of await loadZoneConfiguration(database.query)) found.push(toSnapshot(one, issuers))
      }
      for (const zone of zones ?? []) {
        for (const one of await loadZoneConfiguration(database.query, zone)) found.push(toSnapshot(one, issuers))
      }
      return found
    },
    async sync(request) {
      const at = clock()
      const current = await zoneVersions(database.query)
      await note(database, request, at)
      return { v: 1, at, zones: Object.fromEntries(current.map(({ zone, version, policy }) => [zone, { version, policy }])) }
    },
  }
}

function toSnapshot({ zone, version, keys, ...held }: ZoneConfiguration, { issuerUrl, issuerAliases }: Issuers): ZoneSnapshot {
  const signing = keys.filter((key) => key.kind === 'signing')
  return {
    id: zone.id,
    name: zone.name,
    labels: zone.labels,
    issuer: zoneIssuer(issuerUrl, zone.id),
    issuerAliases: issuerAliases.map((url) => zoneIssuer(url, zone.id)),
    keys: signing.flatMap(({ publicJwk }): PublicJwk[] => (publicJwk === null ? [] : [publicJwk])),
    version,
    applications: held.applications,
    resources: held.resources,
    providers: held.providers,
    policy: held.policy,
  }
}

async function note(database: Database, { replica, role, loaded }: SyncRequest, seenAt: number): Promise<void> {
  await recordReplicas(
    database.query,
    Object.entries(loaded).map(([zone, { version, policy, error }]) => ({
      zone: zone as ZoneId,
      replica,
      role,
      setVersion: policy,
      configVersion: version,
      error: error ?? null,
      seenAt,
    })),
  )
}
