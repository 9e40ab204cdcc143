import { type KeyRing, type PublicJwk, type ZoneId, zoneIssuer } from '@caracal/core'
import type { ZoneConfiguration, ZoneKey } from '@caracal/postgres'
import type { Logger } from '@caracal/service'
import { publishedKeys } from '../keys/key-schedule.ts'
import { openPepper, openSigningKey } from '../keys/zone-key-store.ts'
import { type Signer, type ZoneState, zoneState } from './zone-state.ts'

/** What a zone is read with. */
export type ZoneReading = {
  readonly kek: KeyRing
  readonly issuerUrl: string
  /** Former issuer URLs whose mandates are still accepted (P-021). */
  readonly issuerAliases: readonly string[]
  readonly logger: Logger
}

/** The state of a zone from its rows. A key that does not open leaves the zone without a signer, and says so in the log. */
export function readZone(configuration: ZoneConfiguration, reading: ZoneReading, previous: ZoneState | undefined): ZoneState {
  const { zone, keys } = configuration
  const signing = keys.filter((key) => key.kind === 'signing')
  return zoneState(
    {
      snapshot: {
        id: zone.id,
        name: zone.name,
        labels: zone.labels,
        issuer: zoneIssuer(reading.issuerUrl, zone.id),
        issuerAliases: reading.issuerAliases.map((url) => zoneIssuer(url, zone.id)),
        keys: publishedKeys(signing).flatMap((key) => key.publicJwk ?? []),
        version: configuration.version,
        applications: configuration.applications,
        applicationKeys: configuration.applicationKeys,
        resources: configuration.resources,
        providers: configuration.providers,
        budgets: configuration.budgets,
        policy: configuration.policy,
      },
      credentials: configuration.credentials,
      providerSecrets: configuration.providerSecrets,
      keys,
      pepper: openedPepper(keys, reading, zone.id),
      signer: openedSigner(signing, reading, previous?.signer),
      logKeys: keys.filter((key) => key.kind === 'log').flatMap((key): PublicJwk[] => (key.publicJwk === null ? [] : [key.publicJwk])),
    },
    previous,
  )
}

function openedSigner(keys: readonly ZoneKey[], reading: ZoneReading, before: Signer | undefined): Signer | undefined {
  const current = keys.find((key) => key.state === 'current')
  if (current === undefined) return undefined
  if (before?.kid === current.kid) return before
  try {
    return { kid: current.kid, key: openSigningKey(reading.kek, current) }
  } catch (error) {
    reading.logger.error({ err: error, zone: current.zone }, 'the signing key of a zone does not open')
    return undefined
  }
}

function openedPepper(keys: readonly ZoneKey[], reading: ZoneReading, zone: ZoneId): Uint8Array | undefined {
  const current = keys.find((key) => key.kind === 'pepper' && key.state === 'current')
  if (current === undefined) return undefined
  try {
    return openPepper(reading.kek, current)
  } catch (error) {
    reading.logger.error({ err: error, zone }, 'the pepper of a zone does not open')
    return undefined
  }
}
