import type { DelegationId, Scope, Seconds, SessionId } from '@caracal/core'
import type { PresentedCredential } from '../client/presented-credential.ts'

export const GRANT_CLIENT_CREDENTIALS = 'client_credentials'
export const GRANT_TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'

/** RFC 8693 §3, those that are ours to accept and to issue. */
export const TYPE_ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
export const TYPE_JWT = 'urn:ietf:params:oauth:token-type:jwt'

/** A request for one mandate, read and well-formed; nothing in it is proven yet. */
export type TokenRequest = {
  readonly credential: PresentedCredential
  /** RFC 8707 identifier; in an exchange it may be absent and is the subject token's audience then. */
  readonly resource: string | undefined
  /** undefined: all that policy allows. */
  readonly scopes: ReadonlySet<Scope> | undefined
  readonly session: SessionId | undefined
  readonly delegation: DelegationId | undefined
  readonly approval: string | undefined
  readonly ttl: Seconds | undefined
  readonly once: boolean
  readonly issuedTokenType: typeof TYPE_ACCESS_TOKEN | typeof TYPE_JWT
  readonly exchange: { readonly subjectToken: string; readonly actorToken: string | undefined } | undefined
}
