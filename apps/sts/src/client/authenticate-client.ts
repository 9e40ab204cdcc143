import { type Application, type ApplicationId, type Clock, isId, ok, type Result, refuse } from '@caracal/core'
import type { RevocationView } from '@caracal/enforcement'
import { type FailureThrottle, infrastructureReason } from '@caracal/service'
import type { Streams } from '@caracal/streams'
import type { ZoneState } from '../zones/zone-state.ts'
import type { Zones } from '../zones/zones.ts'
import { claimedClient, verifyAssertion } from './client-assertion.ts'
import { matchesSecret } from './client-secret.ts'
import type { PresentedCredential } from './presented-credential.ts'

/** What authentication needs. */
export type ClientDesk = {
  readonly clock: Clock
  readonly zones: Zones
  readonly revocations: Pick<RevocationView, 'unfit' | 'isRevoked' | 'position'>
  readonly streams: Pick<Streams, 'claim'>
  /** Keyed by source and client: knowing an id must not be enough to lock its owner out (P-010). */
  readonly throttle: Pick<FailureThrottle, 'failed'>
}

/** Who it is, proven. */
export type AuthenticatedClient = {
  readonly zone: ZoneState
  readonly application: Application
  readonly method: PresentedCredential['method']
}

/** A used `jti` is remembered this much longer than its assertion lives. Seconds. */
const REPLAY_MARGIN = 120

/**
 * RFC 6749 §2.3, RFC 7523 §2.2. Unknown, archived, revoked, expired, of another zone and wrong: the same refusal after the same work
 * (P-006). Before it refuses, the configuration is compared with Postgres once (rate limited), so that a credential made a
 * moment ago works. `owner` identifies this request: a retry of the driver is not a replay (P-017).
 */
export async function authenticateClient(
  desk: ClientDesk,
  presented: PresentedCredential,
  source: string,
  owner: string,
): Promise<Result<AuthenticatedClient>> {
  const claimed = presented.clientId ?? (presented.method === 'private_key_jwt' ? claimedClient(presented.assertion) : undefined) ?? ''
  let proven = await prove(desk, presented, claimed)
  if (proven === undefined && (await desk.zones.refresh('stranger'))) proven = await prove(desk, presented, claimed)
  if (proven === undefined) {
    const wait = desk.throttle.failed(`${source} ${claimed.slice(0, 64)}`)
    return wait > 0 ? refuse('rate_limited', undefined, { retry_after: wait }) : refuse('invalid_client')
  }
  if (desk.revocations.unfit() !== null) return refuse('revocation_view_stale')
  if (desk.revocations.isRevoked([proven.zone.snapshot.id, proven.application.id]) !== null) return refuse('invalid_client')
  if (proven.assertion !== undefined) {
    const { jti, expiresAt } = proven.assertion
    const ttl = Math.ceil(expiresAt - desk.clock() / 1000) + REPLAY_MARGIN
    try {
      if (!(await desk.streams.claim(`assertion:${proven.application.id}:${jti}`, owner, ttl))) return refuse('assertion_replayed')
    } catch (error) {
      return refuse(infrastructureReason(error) ?? 'store_unavailable')
    }
  }
  return ok({ zone: proven.zone, application: proven.application, method: presented.method })
}

type Proven = {
  readonly zone: ZoneState
  readonly application: Application
  readonly assertion: { readonly jti: string; readonly expiresAt: number } | undefined
}

async function prove(desk: ClientDesk, presented: PresentedCredential, claimed: string): Promise<Proven | undefined> {
  const zone = isId('application', claimed) ? desk.zones.ofApplication(claimed) : undefined
  const client = zone?.clients.get(claimed as ApplicationId)
  const now = desk.clock()
  const inForce = ({ expiresAt }: { readonly expiresAt: number | null }) => expiresAt === null || expiresAt > now

  if (presented.method !== 'private_key_jwt') {
    const digests = (client?.secrets ?? []).filter(inForce).map(({ digest }) => digest)
    const matches = matchesSecret(zone?.pepper, digests, presented.secret)
    return matches && zone !== undefined && client !== undefined
      ? { zone, application: client.application, assertion: undefined }
      : undefined
  }
  if (zone === undefined || client === undefined) return undefined
  const verified = await verifyAssertion(presented.assertion, {
    client: client.application.id,
    audiences: [zone.snapshot.issuer, ...zone.snapshot.issuerAliases],
    keys: client.keys.filter(inForce),
    now: Math.floor(now / 1000),
  })
  return verified.ok ? { zone, application: client.application, assertion: verified.value } : undefined
}
