import type { ProviderId, ZoneId } from '../id.ts'
import type { UnixMillis } from '../time.ts'
import type { Stored } from './zone.ts'

/** Where a credential goes in the upstream request. A query placement needs `insecure_query_credential` (P-078). */
export type Placement =
  | { readonly in: 'header'; readonly name: string; readonly prefix: string }
  | { readonly in: 'query'; readonly name: string; readonly insecure_query_credential: true }

/**
 * How an upstream credential is obtained and attached. The secret part is sealed and never in here:
 * `api_key` and `bearer` have one secret value, `basic` a password, `oauth2_client_credentials` a client secret.
 */
export type Provider = Stored & {
  readonly id: ProviderId
  readonly zone: ZoneId
  readonly name: string
  /** Upstream hosts (`host` or `host:port`) the credential may ever be sent to (P-078). */
  readonly hosts: readonly string[]
  /** When the static secret stops working, if known. */
  readonly expiresAt: UnixMillis | null
} & ProviderMethod

export type ProviderMethod =
  | { readonly kind: 'none' }
  | { readonly kind: 'api_key'; readonly placement: Placement }
  | { readonly kind: 'bearer' }
  | { readonly kind: 'basic'; readonly username: string }
  | {
      readonly kind: 'oauth2_client_credentials'
      readonly tokenEndpoint: string
      readonly clientId: string
      readonly clientAuthentication: 'client_secret_basic' | 'client_secret_post'
      readonly scope: string
      /** CIDRs of non-public addresses that the token endpoint may resolve to. */
      readonly egressAllow: readonly string[]
    }
