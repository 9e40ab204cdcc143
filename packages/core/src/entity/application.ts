import type { ApplicationId, CredentialId, ZoneId } from '../id.ts'
import type { UnixMillis } from '../time.ts'
import type { Stored } from './zone.ts'

/** Registered software that authenticates. Its labels are set by an administrator and may be trusted by policy. */
export type Application = Stored & {
  readonly id: ApplicationId
  readonly zone: ZoneId
  readonly name: string
  readonly labels: readonly string[]
}

/** A public JSON Web Key (RFC 7517) as Node's crypto takes it. */
export type PublicJwk = { readonly kty: string; readonly kid?: string; readonly alg?: string } & Readonly<Record<string, unknown>>

/**
 * How an Application proves who it is. Two may be valid at once (rotation).
 * `secret`: HMAC-SHA-256 of the client secret under the Zone's pepper, hex. `jwk`: the key of `private_key_jwt`.
 */
export type ApplicationCredential = {
  readonly id: CredentialId
  readonly application: ApplicationId
  readonly zone: ZoneId
  readonly createdAt: UnixMillis
  readonly expiresAt: UnixMillis | null
} & ({ readonly kind: 'secret'; readonly digest: string } | { readonly kind: 'jwk'; readonly jwk: PublicJwk })
