import {
  type Clock,
  deriveRing,
  type KeyRing,
  ok,
  type Provider,
  type ProviderId,
  type RequestId,
  type ResourceId,
  type Result,
  refuse,
  type UnixMillis,
  unsealText,
  type ZoneId,
} from '@caracal/core'
import type { Logger } from '@caracal/service'
import type { EvidenceWriter } from '@caracal/streams'
import type { StsMetrics } from '../metrics.ts'
import type { Zones } from '../zones/zones.ts'
import { providerTokens, type TokenFetcher } from './provider-tokens.ts'

export type CredentialRequest = {
  readonly zone: ZoneId
  readonly provider: ProviderId
  readonly resource: ResourceId
  /** Host (and port, if it is not the scheme's own) that the credential will be sent to. */
  readonly host: string
  /** The role that asked, and its request. */
  readonly caller: string
  readonly requestId: RequestId
}

/** `secret`: the API key, bearer token, password or access token; null for `none`. `expiresAt`: do not use it later; null = no known end. */
export type ReleasedCredential = { readonly kind: Provider['kind']; readonly secret: string | null; readonly expiresAt: UnixMillis | null }

export type ProviderCredentials = {
  /** Hands the credential out after its release is durable evidence (P-086). Why it cannot be had stays here. */
  release(request: CredentialRequest): Promise<Result<ReleasedCredential>>
  stop(): Promise<void>
}

/** Upstream credentials for enforcement points: sealed ones opened, fetched ones from memory and refreshed before they end. */
export function providerCredentials(options: {
  readonly zones: Zones
  readonly kek: KeyRing
  readonly clock: Clock
  readonly evidence: Pick<EvidenceWriter, 'record'>
  readonly logger: Logger
  readonly metrics: StsMetrics
  readonly fetchToken: TokenFetcher
}): ProviderCredentials {
  const { zones, kek, clock, logger, metrics } = options
  const tokens = providerTokens({ clock, logger, metrics, fetchToken: options.fetchToken })

  function find({
    zone,
    provider,
    resource,
    host,
  }: CredentialRequest): { readonly provider: Provider; readonly sealed: string | undefined } | undefined {
    const state = zones.get(zone)
    const found = state?.snapshot.providers.find((one) => one.id === provider)
    const target = state?.snapshot.resources.find((one) => one.id === resource)
    // The pairing is configuration: an enforcement point cannot ask for another resource's credential, nor for another host (P-078).
    if (state === undefined || found === undefined || target?.provider !== provider || !found.hosts.includes(host)) return undefined
    const secret = state.providerSecrets.get(provider)
    if (secret === undefined) return { provider: found, sealed: undefined }
    const place = { zone, table: 'providers', row: provider, column: 'sealed_secret', version: secret.version }
    const opened = unsealText(deriveRing(kek, 'sts', zone), place, secret.sealed)
    if (!opened.ok) logger.error({ zone, provider, problem: opened.problem }, 'the secret of a provider does not open')
    return { provider: found, sealed: opened.ok ? opened.value : undefined }
  }

  async function obtain(provider: Provider, secret: string | undefined): Promise<Result<ReleasedCredential>> {
    if (provider.kind === 'none') return ok({ kind: 'none', secret: null, expiresAt: null })
    if (secret === undefined) return refuse('credential_unavailable')
    if (provider.expiresAt !== null && provider.expiresAt <= clock()) return refuse('credential_unavailable', 'it has expired')
    if (provider.kind !== 'oauth2_client_credentials') return ok({ kind: provider.kind, secret, expiresAt: provider.expiresAt })
    const token = await tokens.get(provider, secret)
    return token.ok ? ok({ kind: provider.kind, secret: token.value.token, expiresAt: token.value.expiresAt }) : token
  }

  return {
    async release(request) {
      let found = find(request)
      if (found === undefined && (await zones.refresh('known'))) found = find(request)
      if (found === undefined) return refuse('credential_unavailable')
      const credential = await obtain(found.provider, found.sealed)
      if (!credential.ok) return credential
      try {
        await options.evidence.record({
          zone: request.zone,
          type: 'credential.released',
          target: { kind: 'provider', id: request.provider, name: found.provider.name },
          resource: zones.get(request.zone)?.snapshot.resources.find((one) => one.id === request.resource)?.identifier ?? request.resource,
          request_id: request.requestId,
          details: { host: request.host, to: request.caller, kind: credential.value.kind },
        })
      } catch {
        return refuse('evidence_unavailable')
      }
      metrics.credentialsReleased.inc({ kind: credential.value.kind })
      return credential
    },
    stop: () => tokens.stop(),
  }
}
