import { MAX_MANDATE_LIFE, ok, type Resource, type Result, refuse, type Scope, type Seconds } from '@caracal/core'
import type { Awaitable } from '@caracal/enforcement'
import type { AuthenticatedClient } from '../client/authenticate-client.ts'
import type { ZoneState } from '../zones/zone-state.ts'
import type { MintDesk } from './mint-desk.ts'
import type { TokenRequest } from './token-request.ts'
import type { Subject } from './verify-subject.ts'

/** What a mandate can be for. `resource` is undefined for Caracal itself. */
export type Target = {
  readonly identifier: string
  readonly scopes: readonly Scope[]
  readonly defaultLife: Seconds
  readonly once: boolean
  readonly resource: Resource | undefined
}

/** Scopes at Caracal itself: what the Coordinator asks for. */
export const BUILT_IN_SCOPES: readonly Scope[] = ['sessions', 'delegations']

/**
 * Step 5: the one resource, by its identifier, byte for byte (P-020). The zone's issuer is Caracal itself. An exchange names none
 * other than the subject token's audience. Unknown, revoked and of another zone are alike.
 */
export function resolveResource(
  desk: MintDesk,
  { client, request, subject }: { readonly client: AuthenticatedClient; readonly request: TokenRequest; readonly subject: Subject },
): Awaitable<Result<Resolved>> {
  const audience = subject.parent?.claims.aud
  const identifier = request.resource ?? audience
  if (identifier === undefined) return refuse('missing_parameter', 'resource')
  if (audience !== undefined && identifier !== audience) return refuse('invalid_target', "it is not the subject token's audience")
  const target = findTarget(client.zone, identifier)
  return target === undefined ? refreshed(desk, client, identifier) : unlessRevoked(desk, client, target)
}

type Resolved = { readonly client: AuthenticatedClient; readonly target: Target }

async function refreshed(desk: MintDesk, client: AuthenticatedClient, identifier: string): Promise<Result<Resolved>> {
  if (!(await desk.zones.refresh('known'))) return refuse('invalid_target')
  const zone = desk.zones.get(client.zone.snapshot.id) ?? client.zone
  const target = findTarget(zone, identifier)
  return target === undefined ? refuse('invalid_target') : unlessRevoked(desk, { ...client, zone }, target)
}

function unlessRevoked(desk: MintDesk, client: AuthenticatedClient, target: Target): Result<Resolved> {
  if (target.resource !== undefined && desk.revocations.isRevoked([target.resource.id]) !== null) return refuse('invalid_target')
  return ok({ client, target })
}

/** What a mandate of the zone with this audience is for; undefined when there is nothing (any more). A former issuer means the present one. */
export function findTarget(zone: ZoneState, identifier: string): Target | undefined {
  const { issuer, issuerAliases } = zone.snapshot
  if (identifier === issuer || issuerAliases.includes(identifier)) {
    return { identifier: issuer, scopes: BUILT_IN_SCOPES, defaultLife: MAX_MANDATE_LIFE, once: false, resource: undefined }
  }
  const resource = zone.resources.get(identifier)
  if (resource === undefined) return undefined
  return { identifier, scopes: resource.scopes, defaultLife: resource.mandateLife, once: resource.once, resource }
}
