import { type Application, type ApplicationId, type Clock, isId, ok, type Result, refuse } from '@caracal/core'
import type { Awaitable, RevocationView } from '@caracal/enforcement'
import { type FailureThrottle, infrastructureReason } from '@caracal/service'
import type { Streams } from '@caracal/streams'
import type { Client, ZoneState } from '../zones/zone-state.ts'
import type { Zones } from '../zones/zones.ts'
import { type AssertionClaims, claimedClient, verifyAssertion } from './client-assertion.ts'
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
 * moment ago works. `owner` identifies this request: a retry of the driver is not a replay (P-017). A good secret waits for nothing.
 */
export function authenticateClient(
  desk: ClientDesk,
  presented: PresentedCredential,
  source: string,
  owner: string,
): Awaitable<Result<AuthenticatedClient>> {
  if (presented.method === 'private_key_jwt') return byAssertion(desk, presented, source, owner)
  const proven = withSecret(desk, presented)
  return proven === undefined ? refreshedSecret(desk, presented, source) : admitted(desk, proven, presented)
}

type Proven = { readonly zone: ZoneState; readonly application: Application }
type Secret = Exclude<PresentedCredential, { readonly method: 'private_key_jwt' }>
type Assertion = Extract<PresentedCredential, { readonly method: 'private_key_jwt' }>

function withSecret(desk: ClientDesk, { clientId, secret }: Secret): Proven | undefined {
  const { zone, client } = named(desk, clientId)
  const now = desk.clock()
  const digests: string[] = []
  for (const one of client?.secrets ?? []) if (isInForce(one, now)) digests.push(one.digest)
  const matches = matchesSecret(zone?.pepper, digests, secret)
  return matches && zone !== undefined && client !== undefined ? { zone, application: client.application } : undefined
}

async function refreshedSecret(desk: ClientDesk, presented: Secret, source: string): Promise<Result<AuthenticatedClient>> {
  const proven = (await desk.zones.refresh('stranger')) ? withSecret(desk, presented) : undefined
  return proven === undefined ? failed(desk, source, presented.clientId) : admitted(desk, proven, presented)
}

async function byAssertion(desk: ClientDesk, presented: Assertion, source: string, owner: string): Promise<Result<AuthenticatedClient>> {
  const claimed = presented.clientId ?? claimedClient(presented.assertion) ?? ''
  let proven = await withAssertion(desk, presented.assertion, claimed)
  if (proven === undefined && (await desk.zones.refresh('stranger'))) proven = await withAssertion(desk, presented.assertion, claimed)
  if (proven === undefined) return failed(desk, source, claimed)
  const client = admitted(desk, proven, presented)
  if (!client.ok) return client
  const ttl = Math.ceil(proven.expiresAt - desk.clock() / 1000) + REPLAY_MARGIN
  try {
    if (!(await desk.streams.claim(`assertion:${proven.application.id}:${proven.jti}`, owner, ttl))) return refuse('assertion_replayed')
  } catch (error) {
    return refuse(infrastructureReason(error) ?? 'store_unavailable')
  }
  return client
}

async function withAssertion(desk: ClientDesk, assertion: string, claimed: string): Promise<(Proven & AssertionClaims) | undefined> {
  const { zone, client } = named(desk, claimed)
  if (zone === undefined || client === undefined) return undefined
  const now = desk.clock()
  const verified = await verifyAssertion(assertion, {
    client: client.application.id,
    audiences: [zone.snapshot.issuer, ...zone.snapshot.issuerAliases],
    keys: client.keys.filter((key) => isInForce(key, now)),
    now: Math.floor(now / 1000),
  })
  return verified.ok ? { zone, application: client.application, ...verified.value } : undefined
}

function named(desk: ClientDesk, claimed: string): { readonly zone: ZoneState | undefined; readonly client: Client | undefined } {
  const zone = isId('application', claimed) ? desk.zones.ofApplication(claimed) : undefined
  return { zone, client: zone?.clients.get(claimed as ApplicationId) }
}

function isInForce({ expiresAt }: { readonly expiresAt: number | null }, now: number): boolean {
  return expiresAt === null || expiresAt > now
}

function failed(desk: ClientDesk, source: string, claimed: string): Result<never> {
  const wait = desk.throttle.failed(`${source} ${claimed.slice(0, 64)}`)
  return wait > 0 ? refuse('rate_limited', undefined, { retry_after: wait }) : refuse('invalid_client')
}

/** Whoever is proven may still be revoked, or nobody can tell. */
function admitted(desk: ClientDesk, { zone, application }: Proven, { method }: PresentedCredential): Result<AuthenticatedClient> {
  if (desk.revocations.unfit() !== null) return refuse('revocation_view_stale')
  if (desk.revocations.isRevoked([zone.snapshot.id, application.id]) !== null) return refuse('invalid_client')
  return ok({ zone, application, method })
}
