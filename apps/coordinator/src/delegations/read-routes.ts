import { type Delegation, type DelegationId, ok, refuse, type ZoneId } from '@caracal/core'
import { type DelegationFilter, findDelegation, listDelegations } from '@caracal/postgres'
import { LIST_QUERY, ListOf, type Principal, Problem, type RouteRow, route } from '@caracal/service'
import Type from 'typebox'
import { callerOf } from '../callers/caller.ts'
import type { CoordinatorDesk } from '../desk.ts'
import { pageAnswer } from '../routes/page.ts'
import { IdOf, InZone, OfZone, zoneOf } from '../routes/parameters.ts'
import { DELEGATION_READERS } from '../routes/who-may.ts'
import { DelegationBody, showDelegation } from './delegation-body.ts'
import { isParty } from './party.ts'

const State = Type.Union([Type.Literal('offered'), Type.Literal('active'), Type.Literal('revoked')])
const ListQuery = Type.Object({
  ...LIST_QUERY,
  state: Type.Optional(State),
  from: Type.Optional(IdOf('session')),
  to: Type.Optional(IdOf('session')),
})

/** Delegations told of one branch at most. */
const MOST_IN_BRANCH = 500

const Impact = Type.Object({
  delegations: Type.Array(DelegationBody, { description: 'What a revocation would end, itself included' }),
  sessions: Type.Array(IdOf('session'), { description: 'Sessions that lose authority; they go on' }),
  complete: Type.Boolean({ description: `False when there are more than ${MOST_IN_BRANCH}` }),
})

const refusals = { 404: Problem('not_found'), 503: Problem('revocation_view_stale', 'store_unavailable', 'starting') } as const
const row = { who: DELEGATION_READERS, exposure: 'public', method: 'GET' } as const

/** Reads of delegations: an application sees those that it offered or that were offered to it (P-040). */
export function delegationReadRoutes(desk: CoordinatorDesk): RouteRow[] {
  const { query } = desk.database
  const visible = async (zone: ZoneId, id: DelegationId, principal: Principal): Promise<Delegation | undefined> => {
    const found = await findDelegation(query, zone, id)
    return found !== undefined && isParty(callerOf(principal), found) ? found : undefined
  }

  return [
    route({
      ...row,
      path: '/v1/zones/:zone/delegations',
      summary: 'Delegations, newest first',
      params: OfZone,
      query: ListQuery,
      reply: { 200: ListOf(DelegationBody), ...refusals },
      handle: (request) => {
        const zone = zoneOf(request)
        const { state, from, to } = request.query
        const filter: DelegationFilter = { state, from, to, party: callerOf(request.principal).application ?? undefined }
        const list = { route: 'delegations', kind: 'delegation', filter: { ...filter } } as const
        return pageAnswer(
          desk.cursors,
          list,
          request,
          (page) => listDelegations(query, zone, filter, page),
          (items) => items.map(showDelegation),
        )
      },
    }),
    route({
      ...row,
      path: '/v1/zones/:zone/delegations/:id',
      summary: 'One delegation',
      params: InZone('delegation'),
      reply: { 200: DelegationBody, ...refusals },
      handle: async (request) => {
        const found = await visible(zoneOf(request), request.params.id, request.principal)
        return found === undefined ? refuse('not_found') : ok(showDelegation(found))
      },
    }),
    route({
      ...row,
      path: '/v1/zones/:zone/delegations/:id/impact',
      summary: 'What revoking it would end',
      params: InZone('delegation'),
      reply: { 200: Impact, ...refusals },
      handle: async (request) => {
        const zone = zoneOf(request)
        const found = await visible(zone, request.params.id, request.principal)
        if (found === undefined) return refuse('not_found')
        const page = await listDelegations(query, zone, { under: found.id }, { limit: MOST_IN_BRANCH })
        const live = page.items.filter((one) => one.state !== 'revoked')
        return ok({
          delegations: live.map(showDelegation),
          sessions: [...new Set(live.flatMap((one) => one.to ?? []))],
          complete: page.next === null,
        })
      },
    }),
  ]
}
