import { type KeyRing, type PublicJwk, zoneIssuer } from '@caracal/core'
import type { ZoneConfiguration, ZoneKey } from '@caracal/postgres'
import type { Logger } from '@caracal/service'
import { publishedKeys } from '../keys/key-schedule.ts'
import { openPepper, openSigningKey } from '../keys/zone-key-store.ts'
import { type SealedKey, type SealedKeys, type ZoneState, zoneState } from './zone-state.ts'

/** What a zone is read with. */
export type ZoneReading = {
  readonly kek: KeyRing
  readonly issuerUrl: string
  /** Former issuer URLs whose mandates are still accepted (P-021). */
  readonly issuerAliases: readonly string[]
  readonly logger: Logger
}

/** The state of a zone from its rows. A key that does not open when it is needed leaves the zone without a signer, and says so in the log. */
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
      sealed: {
        pepper: pepperOf(keys, reading, previous?.sealed.pepper),
        signer: signerOf(signing, reading, previous?.sealed.signer),
      },
      logKeys: keys.filter((key) => key.kind === 'log').flatMap((key): PublicJwk[] => (key.publicJwk === null ? [] : [key.publicJwk])),
    },
    previous,
  )
}

/** One that is held already is kept as it is, opened or not; one that did not open is tried again. */
function signerOf(keys: readonly ZoneKey[], reading: ZoneReading, before: SealedKeys['signer']): SealedKeys['signer'] {
  const current = keys.find((key) => key.state === 'current')
  if (current === undefined) return undefined
  const { kid } = current
  if (before?.kid === kid && !before.failed()) return before
  return sealedKey(kid, () => ({ kid, key: openSigningKey(reading.kek, current) }), sayOf(reading, current, 'the signing key'))
}

function pepperOf(keys: readonly ZoneKey[], reading: ZoneReading, before: SealedKeys['pepper']): SealedKeys['pepper'] {
  const current = keys.find((key) => key.kind === 'pepper' && key.state === 'current')
  if (current === undefined) return undefined
  if (before?.kid === current.kid && !before.failed()) return before
  return sealedKey(current.kid, () => openPepper(reading.kek, current), sayOf(reading, current, 'the pepper'))
}

function sayOf({ logger }: ZoneReading, { zone }: ZoneKey, what: string): (error: unknown) => void {
  return (error) => logger.error({ err: error, zone }, `${what} of a zone does not open`)
}

/** A replica that starts beside a thousand zones is asked for few of their keys (P-170). */
function sealedKey<T>(kid: string, open: () => T, onFailure: (error: unknown) => void): SealedKey<T> {
  let found: { readonly value: T | undefined } | undefined
  const attempt = () => {
    try {
      return { value: open() }
    } catch (error) {
      onFailure(error)
      return { value: undefined }
    }
  }
  return {
    kid,
    opened() {
      found ??= attempt()
      return found.value
    },
    failed: () => found !== undefined && found.value === undefined,
  }
}
