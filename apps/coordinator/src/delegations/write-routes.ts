import { isId, ok, type Resource, type Result, refuse, type ZoneId } from '@caracal/core'
import { answer, Problem, type RouteRow, route } from '@caracal/service'
import Type, { type Static } from 'typebox'
import { applicationOf } from '../callers/application-of.ts'
import { callerOf } from '../callers/caller.ts'
import { actOf, commitChange } from '../change/commit-change.ts'
import type { CoordinatorDesk } from '../desk.ts'
import { IdOf, InZone, Moment, OfZone, zoneOf } from '../routes/parameters.ts'
import { DELEGATION_WRITERS } from '../routes/who-may.ts'
import { accept } from './accept.ts'
import { DelegationBody, showDelegation } from './delegation-body.ts'
import type { Offer } from './narrow-offer.ts'
import { offerDelegation } from './offer.ts'
import { revokeDelegation } from './revoke.ts'

const ScopeText = Type.String({ pattern: '^[\\x21\\x23-\\x29\\x2b-\\x5b\\x5d-\\x7e]{1,128}$' })
const OfferBody = Type.Object({
  from: IdOf('session'),
  toApplication: Type.String({ minLength: 1, maxLength: 63, description: 'Id or name' }),
  grants: Type.Array(
    Type.Object({
      resource: Type.String({ minLength: 1, maxLength: 2048, description: 'Id or identifier' }),
      scopes: Type.Array(ScopeText, { minItems: 1, maxItems: 128 }),
    }),
    { minItems: 1, maxItems: 64 },
  ),
  hops: Type.Optional(Type.Integer({ minimum: 0, maximum: 9, default: 0 })),
  expiresAt: Type.Optional(Moment),
  parent: Type.Optional(IdOf('delegation')),
})

const row = { who: DELEGATION_WRITERS, exposure: 'public', rate: 'mutation', idempotent: true, method: 'POST' } as const
const refusals = {
  400: Problem(
    'delegation_not_usable',
    'session_not_usable',
    'session_suspended',
    'lineage_expired',
    'lineage_too_deep',
    'invalid_target',
    'invalid_scope',
    'scope_exceeds_parent',
  ),
  404: Problem('not_found'),
  422: Problem('validation_failed'),
  503: Problem('revocation_view_stale', 'store_unavailable', 'starting'),
} as const

/** Everything that changes a delegation. Each row is one transaction. */
export function delegationWriteRoutes(desk: CoordinatorDesk): RouteRow[] {
  return [
    route({
      ...row,
      path: '/v1/zones/:zone/delegations',
      summary: 'Offer authority to another application',
      audit: 'delegation.offered',
      params: OfZone,
      body: OfferBody,
      reply: { 201: DelegationBody, ...refusals },
      handle: async (request) => {
        const zone = zoneOf(request)
        const caller = callerOf(request.principal)
        const { body } = request
        // Before the transaction: within it nothing is read but what it locks.
        const offer = await findTargets(desk, zone, body)
        if (!offer.ok) return offer
        const asked = { ...offer.value, from: body.from, parent: body.parent ?? null }
        return commitChange(desk, actOf(request, caller), async (tx, now) => {
          const made = await offerDelegation(tx, zone, caller, asked, now)
          if (!made.ok) return made
          const { id, from, toApplication, grants, hops, expiresAt, parent } = made.value
          return ok({
            answer: answer(201, showDelegation(made.value), { location: `/v1/zones/${zone}/delegations/${id}` }),
            event: {
              type: 'delegation.offered',
              target: { kind: 'delegation', id },
              details: {
                from,
                to_application: toApplication,
                grants: grants.map(({ resource, scopes }) => `${resource} ${scopes.join(' ')}`),
                hops,
                expires_at: expiresAt,
                ...(parent === null ? {} : { parent }),
              },
            },
            changed: [{ kind: 'delegation', id }],
            revocations: [],
          })
        })
      },
    }),
    route({
      ...row,
      path: '/v1/zones/:zone/delegations/:id/accept',
      summary: 'Accept an offer for one of your sessions',
      audit: 'delegation.accepted',
      params: InZone('delegation'),
      body: Type.Object({ session: IdOf('session') }),
      reply: { 200: DelegationBody, ...refusals },
      handle: (request) => {
        const zone = zoneOf(request)
        const caller = callerOf(request.principal)
        const at = { zone, id: request.params.id, session: request.body.session }
        return commitChange(desk, actOf(request, caller), (tx, now) => accept(tx, at, caller, now))
      },
    }),
    route({
      ...row,
      path: '/v1/zones/:zone/delegations/:id/revoke',
      summary: 'Revoke a delegation and everything below it, for good',
      audit: 'delegation.revoked',
      params: InZone('delegation'),
      reply: { 200: DelegationBody, 403: Problem('forbidden'), 404: refusals[404], 503: refusals[503] },
      handle: (request) => {
        const zone = zoneOf(request)
        const caller = callerOf(request.principal)
        return commitChange(desk, actOf(request, caller), (tx, now) => revokeDelegation(tx, zone, request.params.id, caller, now))
      },
    }),
  ]
}

/** The application and the resources that an offer names, from memory; what is not known yet is read once. Revoked ones are unknown. */
async function findTargets(desk: CoordinatorDesk, zone: ZoneId, body: Static<typeof OfferBody>): Promise<Result<Offer>> {
  const to = await applicationOf(desk, zone, body.toApplication)
  if (to === undefined) return refuse('validation_failed', 'toApplication is not known')
  const grants: { resource: Resource; scopes: readonly string[] }[] = []
  for (const { resource, scopes } of body.grants) {
    const found = await resourceOf(desk, zone, resource)
    if (found === undefined) return refuse('invalid_target')
    grants.push({ resource: found, scopes })
  }
  return ok({ toApplication: to.id, grants, hops: body.hops, expiresAt: body.expiresAt })
}

async function resourceOf(desk: CoordinatorDesk, zone: ZoneId, text: string): Promise<Resource | undefined> {
  const find = () => {
    const held = desk.state.zone(zone)
    return isId('resource', text) ? held?.resources.get(text) : held?.resourcesByIdentifier.get(text)
  }
  let found = find()
  if (found === undefined) {
    await desk.refresh(zone)
    found = find()
  }
  return found !== undefined && desk.view.isRevoked([found.id]) === null ? found : undefined
}
