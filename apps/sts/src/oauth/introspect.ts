import { type MandateClaims, ok, type Result } from '@caracal/core'
import type { MintDesk } from '../mint/mint-desk.ts'
import { findTarget } from '../mint/resolve-resource.ts'
import type { TokenCall } from '../mint/token-call.ts'
import { presentedToken } from './presented-token.ts'

export type Introspection = { readonly active: false } | (MandateClaims & { readonly active: true; readonly token_type: 'Bearer' })

const INACTIVE: Introspection = Object.freeze({ active: false })

/**
 * RFC 7662 §2.2 for a client's own mandates. Unknown, malformed, expired, revoked, for a resource that is gone and of another client
 * are alike, to the byte.
 */
export async function introspect(desk: MintDesk, call: TokenCall): Promise<Result<Introspection>> {
  const asked = await presentedToken(desk, call)
  if (!asked.ok) return asked
  const { client, token } = asked.value
  const verified = await desk.mandates.verify(token, desk.clock() / 1000)
  if (!verified.ok) return verified.reason === 'keys_unavailable' ? verified : ok(INACTIVE)
  const { claims, revocable } = verified.value
  if (claims.zone !== client.zone.snapshot.id || claims.client_id !== client.application.id) return ok(INACTIVE)
  const target = findTarget(client.zone, claims.aud)
  if (target === undefined) return ok(INACTIVE)
  const leadsTo =
    target.resource === undefined ? [] : [target.resource.id, ...(target.resource.provider === null ? [] : [target.resource.provider])]
  if (desk.revocations.isRevoked([...revocable, ...leadsTo]) !== null) return ok(INACTIVE)
  return ok({ active: true, token_type: 'Bearer', ...claims })
}
