import type { ApplicationId, DelegationId, MandateId, SessionId, TransactionId, ZoneId } from './id.ts'
import type { UnixSeconds } from './time.ts'

/** RFC 8693 §4.1: outermost = the current actor; only it grants access, the inner ones are history. */
export type Actor = { readonly sub: string; readonly act?: Actor }

/** RFC 9068 header of a mandate. */
export type MandateHeader = { readonly typ: 'at+jwt'; readonly alg: 'ES256'; readonly kid: string }

/**
 * What policy saw at mint of the leaf session and the subject, and must see again at the call, where only the mandate is at hand.
 * `depth` counts the session's own lineage (1 = root), without the delegator's.
 */
export type MandateContext = {
  readonly session?: { readonly kind: 'task' | 'service'; readonly depth: number; readonly labels: readonly string[] }
  readonly subject?: { readonly issuer: string; readonly claims: Readonly<Record<string, unknown>> }
  /** On whose authority the client acts, when it is not its own alone: at the call it has what all of them have, as at the mint. */
  readonly principals?: readonly MandatePrincipal[]
}

/** An Application that delegated, or whose mandate was exchanged, as policy saw it then. `depth`: delegations above it. */
export type MandatePrincipal = {
  readonly application: ApplicationId
  readonly depth: number
  readonly session?: {
    readonly id: SessionId
    readonly kind: 'task' | 'service'
    readonly depth: number
    readonly labels: readonly string[]
  }
}

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
  /** `session` is required when there is `ses`, `subject` when `sub` is a Subject, `principals` when there is `dlg`. */
  readonly ctx?: MandateContext
}

/** `{ISSUER_URL}/zones/{zone id}`: one issuer per zone, so that any standard verifier works per zone. */
export function zoneIssuer(issuerUrl: string, zone: ZoneId): string {
  return `${issuerUrl.replace(/\/$/, '')}/zones/${zone}`
}

/** Whether only Caracal itself may be called that: a zone's issuer is the audience of its own services, `caracal:` names its built-in resources. */
export function isReservedIdentifier(identifier: string): boolean {
  return /^caracal:/i.test(identifier) || /\/zones\/zon_[0-9a-z]{26}\/?$/i.test(identifier)
}

/** Every id whose revocation ends this mandate: those who acted before the client are ancestors too, and it stands on them. */
export function revocableIds(claims: MandateClaims): string[] {
  const ids = [claims.zone, claims.client_id, claims.sub, claims.jti, ...(claims.ses ?? []), ...(claims.dlg ?? []), ...(claims.mnd ?? [])]
  for (let actor = claims.act; actor !== undefined; actor = actor.act) if (actor.sub !== claims.client_id) ids.push(actor.sub)
  return ids
}
