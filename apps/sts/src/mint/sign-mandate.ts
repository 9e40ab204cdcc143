import { sign } from 'node:crypto'
import { type MandateClaims, type MandateHeader, ok, type Result, refuse, revocableIds } from '@caracal/core'
import type { AuthenticatedClient } from '../client/authenticate-client.ts'
import type { Signer } from '../zones/zone-state.ts'
import type { MintDesk } from './mint-desk.ts'

/** Whether the zone can sign at all: asked before anything is recorded, so that no evidence tells of a mandate that cannot be. */
export function demandSigner(
  _desk: unknown,
  { client }: { readonly client: AuthenticatedClient },
): Result<{ readonly signer: Signer }, 'keys_unavailable'> {
  const { signer } = client.zone
  return signer === undefined ? refuse('keys_unavailable') : ok({ signer })
}

/**
 * Last step: the compact JWS. What was revoked while the evidence was written is not signed (P-038).
 */
export function signMandate(
  desk: MintDesk,
  { claims, signer }: { readonly claims: MandateClaims; readonly signer: Signer },
): Result<{ readonly token: string }> {
  if (desk.revocations.unfit() !== null) return refuse('revocation_view_stale')
  if (desk.revocations.isRevoked(revocableIds(claims)) !== null) return refuse('lineage_revoked')
  return ok({ token: compactJws(claims, signer) })
}

/** RFC 7515 §7.1 with ES256 (RFC 7518 §3.4) and the header of RFC 9068 §2.1. */
export function compactJws(claims: MandateClaims, signer: Signer): string {
  const input = `${headerOf(signer)}.${encode(claims)}`
  const signature = sign('sha256', Buffer.from(input), { key: signer.key, dsaEncoding: 'ieee-p1363' })
  return `${input}.${signature.toString('base64url')}`
}

const headers = new WeakMap<Signer, string>()

/** The same for every mandate that a key signs. */
function headerOf(signer: Signer): string {
  const before = headers.get(signer)
  if (before !== undefined) return before
  const header: MandateHeader = { typ: 'at+jwt', alg: 'ES256', kid: signer.kid }
  const encoded = encode(header)
  headers.set(signer, encoded)
  return encoded
}

function encode(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url')
}
