import { createPublicKey, type KeyObject } from 'node:crypto'
import type { PublicJwk, ZoneId, ZoneSnapshot } from '@caracal/core'

/** Who may sign mandates of a zone: its issuer (and former ones) and its public keys, imported once, when the first signature is checked. */
export type ZoneKeyring = {
  readonly zone: ZoneId
  readonly issuers: ReadonlySet<string>
  readonly keys: ReadonlyMap<string, KeyObject>
  /** Equal fingerprints accept exactly the same signatures. */
  readonly fingerprint: string
}

/**
 * The keyring of a zone. A key that is not EC P-256 with a `kid`, or that is marked for something else, is left out: it can
 * sign nothing here. An unchanged keyring is returned as it was, so that what was verified with it stays verified (P-168).
 */
export function zoneKeyring(
  zone: Pick<ZoneSnapshot, 'id' | 'issuer' | 'issuerAliases' | 'keys'>,
  previous?: ZoneKeyring | undefined,
): ZoneKeyring {
  const fingerprint = JSON.stringify([zone.id, zone.issuer, zone.issuerAliases, zone.keys])
  if (previous?.fingerprint === fingerprint) return previous
  const { keys } = zone
  let imported: ReadonlyMap<string, KeyObject> | undefined
  return {
    zone: zone.id,
    issuers: new Set([zone.issuer, ...zone.issuerAliases]),
    // A replica that starts beside a thousand zones is asked about few of them (P-170).
    get keys() {
      imported ??= importKeys(keys)
      return imported
    },
    fingerprint,
  }
}

function importKeys(jwks: readonly PublicJwk[]): ReadonlyMap<string, KeyObject> {
  const keys = new Map<string, KeyObject>()
  for (const jwk of jwks) {
    const key = importKey(jwk)
    if (jwk.kid !== undefined && key !== null) keys.set(jwk.kid, key)
  }
  return keys
}

function importKey(jwk: PublicJwk): KeyObject | null {
  if (jwk.kty !== 'EC' || jwk.crv !== 'P-256') return null
  if ((jwk.alg !== undefined && jwk.alg !== 'ES256') || (jwk.use !== undefined && jwk.use !== 'sig')) return null
  try {
    return createPublicKey({ key: { kty: jwk.kty, crv: jwk.crv, x: String(jwk.x), y: String(jwk.y) }, format: 'jwk' })
  } catch {
    return null
  }
}
