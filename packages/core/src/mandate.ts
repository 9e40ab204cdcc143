import type { ApplicationId, DelegationId, MandateId, SessionId, TransactionId, ZoneId } from './id.ts'
import type { UnixSeconds } from './time.ts'

/** RFC 8693 §4.1: outermost = the current actor; only it grants access, the inner ones are history. */
export type Actor = { readonly sub: string; readonly act?: Actor }

/** RFC 9068 header of a mandate. */
export type MandateHeader = { readonly typ: 'at+jwt'; readonly alg: 'ES256'; readonly kid: string }

/** RFC 9068 claims of a mandate, with ours. Lineages stand root → leaf. */
export type MandateClaims = {
  readonly iss: string
  readonly sub: string
  readonly aud: string
  readonly client_id: ApplicationId
  readonly scope: string
  readonly iat: UnixSeconds
  readonly nbf: UnixSeconds
  readonly exp: UnixSeconds
  readonly jti: MandateId
  readonly zone: ZoneId
  readonly txn: TransactionId
  readonly ses?: readonly SessionId[]
  readonly dlg?: readonly DelegationId[]
  /** Mandates this one was exchanged from: revoking any of them revokes this one. */
  readonly mnd?: readonly MandateId[]
  readonly act?: Actor
  readonly cnf?: { readonly jkt?: string; readonly 'x5t#S256'?: string }
  readonly authorization_details?: readonly unknown[]
  readonly once?: true
}

/** `{ISSUER_URL}/zones/{zone id}`: one issuer per zone, so that any standard verifier works per zone. */
export function zoneIssuer(issuerUrl: string, zone: ZoneId): string {
  return `${issuerUrl.replace(/\/$/, '')}/zones/${zone}`
}

/** Every id whose revocation ends this mandate. */
export function revocableIds(claims: MandateClaims): string[] {
  return [claims.zone, claims.client_id, claims.sub, claims.jti, ...(claims.ses ?? []), ...(claims.dlg ?? []), ...(claims.mnd ?? [])]
}
