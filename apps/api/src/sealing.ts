import { createHash } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { lengthPrefixed, ok, type ProviderId, type Result, type ZoneId } from '@caracal/core'
import type { InternalClient } from '@caracal/service'
import Type from 'typebox'

/**
 * What needs the key-encryption key or a zone's pepper: the STS does it, because this process holds neither. Refuses
 * `sts_unavailable` or `keys_unavailable`; called before a transaction, never within one.
 */
export type Sealing = {
  /** The envelope of a provider's secret. It opens only for this provider and version. */
  sealProviderSecret(place: { zone: ZoneId; provider: ProviderId; version: number }, secret: string): Promise<Result<string>>
  /** Tells whether two secrets of one provider are the same, and nothing to whoever has no pepper. */
  digestProviderSecret(zone: ZoneId, provider: ProviderId, secret: string): Promise<Result<string>>
  /** What a client secret is compared with. */
  digestClientSecret(zone: ZoneId, secret: string): Promise<Result<string>>
}

const Sealed = Type.Object({ sealed: Type.String() })
const Digest = Type.Object({ digest: Type.String() })

/** The STS makes the keys of a zone when it first sees it; a zone made a moment ago is worth asking for again. Milliseconds. */
const NEW_ZONE_PATIENCE = [50, 100, 200, 400, 800, 1_600]

export function sealingBySts(sts: InternalClient): Sealing {
  const digest = async (zone: ZoneId, secret: string): Promise<Result<string>> => {
    for (let tries = 0; ; tries += 1) {
      const found = await sts.call('/internal/digest-secret', { zone, secret }, { reply: Digest, sealed: true })
      if (found.ok) return ok(found.value.digest)
      const wait = NEW_ZONE_PATIENCE[tries]
      if ((found.reason !== 'not_found' && found.reason !== 'keys_unavailable') || wait === undefined) return found
      await pause(wait)
    }
  }
  return {
    async sealProviderSecret({ zone, provider, version }, secret) {
      const place = { zone, table: 'providers', row: provider, column: 'sealed_secret', version }
      const found = await sts.call('/internal/seal', { ...place, secret }, { reply: Sealed, sealed: true })
      return found.ok ? ok(found.value.sealed) : found
    },
    // Hashed first: a password may be short and the purpose must differ from that of a client secret.
    digestProviderSecret: (zone, provider, secret) =>
      digest(
        zone,
        createHash('sha256')
          .update(lengthPrefixed(['provider secret', provider, secret]))
          .digest('hex'),
      ),
    digestClientSecret: digest,
  }
}
