import { MAX_MANDATE_LIFE, newId, ok, type Resource, type Result, refuse, type Scope, type UnixMillis } from '@caracal/core'
import type { CallDependencies, CallFacts, GovernedCall } from '../call/governed-call.ts'
import type { Mandate } from '../mandate/verify-mandate.ts'
import type { ZoneState } from '../replica/zone-state.ts'
import type { ProvenCaller } from './proven-caller.ts'

type Stands = Pick<CallFacts, 'mandate' | 'zone'>

/**
 * What a proven caller stands on: as if the STS had just given its Application a mandate for what it addresses, with every scope of it
 * and the longest life there is. It is never signed and never leaves the process, and policy decides about the call as about any
 * other: nobody gets more than the rules allow the Application directly. Its life bounds a running call.
 */
export function mandateOfCaller(
  caller: ProvenCaller,
  route: GovernedCall['route'],
  now: UnixMillis,
  { state, refresh }: CallDependencies,
): Result<Stands> | Promise<Result<Stands>> {
  const zone = state.zone(caller.zone)
  if (zone === undefined) return refuse('invalid_client')
  const resource = addressed(zone, route)
  if (resource !== undefined || refresh === undefined) return ok({ zone, mandate: made(caller, zone, resource, now) })
  return refresh(caller.zone).then(() => {
    const anew = state.zone(caller.zone) ?? zone
    return ok({ zone: anew, mandate: made(caller, anew, addressed(anew, route), now) })
  })
}

function addressed(zone: ZoneState, { by, value }: GovernedCall['route']): Resource | undefined {
  return by === 'name' ? zone.resourcesByName.get(value) : zone.resourcesByIdentifier.get(value)
}

function made(caller: ProvenCaller, { snapshot }: ZoneState, resource: Resource | undefined, now: UnixMillis): Mandate {
  const iat = Math.floor(now / 1000)
  const most = iat + MAX_MANDATE_LIFE
  return {
    claims: {
      iss: snapshot.issuer,
      sub: caller.application,
      // Nothing is called that: the next step says that there is no such resource.
      aud: resource?.identifier ?? '',
      client_id: caller.application,
      scope: resource?.scopes.join(' ') ?? '',
      iat,
      nbf: iat,
      exp: caller.expiresAt === null ? most : Math.min(most, caller.expiresAt),
      jti: newId('mandate', now),
      zone: caller.zone,
      txn: newId('transaction', now),
      ...(caller.proof === undefined ? {} : { cnf: caller.proof }),
    },
    scopes: resource === undefined ? NO_SCOPES : scopesOf(resource),
    revocable: [caller.zone, caller.application, caller.credential.id],
    credential: caller.credential,
    use: caller.use,
  }
}

const NO_SCOPES: ReadonlySet<Scope> = new Set()
const scopes = new WeakMap<Resource, ReadonlySet<Scope>>()

function scopesOf(resource: Resource): ReadonlySet<Scope> {
  const known = scopes.get(resource)
  if (known !== undefined) return known
  const all = new Set(resource.scopes)
  scopes.set(resource, all)
  return all
}
