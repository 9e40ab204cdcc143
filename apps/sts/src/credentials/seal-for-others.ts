import { deriveRing, type KeyRing, ok, type Result, refuse, seal, type ZoneId } from '@caracal/core'
import Type, { type Static } from 'typebox'
import { digestClientSecret } from '../client/client-secret.ts'
import type { Zones } from '../zones/zones.ts'

/** What sealing needs: only this process holds the key-encryption key. */
export type SealingDesk = { readonly kek: KeyRing; readonly zones: Zones }

/** A secret and the place it will stand at: the envelope opens nowhere else (P-082). */
export const SealRequest = Type.Object({
  zone: Type.String({ pattern: '^zon_[0-9a-z]{26}$' }),
  table: Type.Literal('providers'),
  row: Type.String({ minLength: 1, maxLength: 64 }),
  column: Type.Literal('sealed_secret'),
  version: Type.Integer({ minimum: 1 }),
  secret: Type.String({ minLength: 1, maxLength: 16_384 }),
})

export function sealSecret(desk: SealingDesk, request: Static<typeof SealRequest>): string {
  const { secret, ...place } = request
  return seal(deriveRing(desk.kek, 'sts', place.zone), place, secret)
}

/**
 * HMAC-SHA-256 of a client secret under the zone's pepper, hex. A zone made a moment ago gets its keys here, so that its first
 * credential need not wait for them.
 */
export async function digestSecret(desk: SealingDesk, zone: ZoneId, secret: string): Promise<Result<{ readonly digest: string }>> {
  let state = desk.zones.get(zone)
  if (state?.pepper === undefined) {
    await desk.zones.check()
    state = desk.zones.get(zone)
  }
  if (state === undefined) return refuse('not_found')
  return state.pepper === undefined ? refuse('keys_unavailable') : ok({ digest: digestClientSecret(state.pepper, secret) })
}
