import { listUsage, sumUsage, USAGE_GROUPS } from '@caracal/postgres'
import { LIST_QUERY, ListOf, type RouteRow, route } from '@caracal/service'
import Type from 'typebox'
import type { ApiDesk } from '../desk.ts'
import { listAnswer } from './named-list.ts'
import { IdOf, Moment, OfZone, readers, zoneOf } from './parameters.ts'

const FILTER = {
  application: Type.Optional(IdOf('application')),
  session: Type.Optional(IdOf('session')),
  subject: Type.Optional(IdOf('subject')),
  resource: Type.Optional(Type.String({ minLength: 1, maxLength: 2048, description: 'Identifier of the resource' })),
  budget: Type.Optional(IdOf('budget')),
  from: Type.Optional(Moment),
  to: Type.Optional(Moment),
}

const UsageBody = Type.Object({
  request: Type.String(),
  application: Type.String(),
  subject: Type.Union([Type.String(), Type.Null()]),
  session: Type.Union([Type.String(), Type.Null()]),
  resource: Type.String(),
  operation: Type.Union([Type.String(), Type.Null()]),
  amount: Type.String(),
  currency: Type.Union([Type.String(), Type.Null()]),
  budgets: Type.Array(Type.String()),
  late: Type.Boolean(),
  at: Type.Number(),
  settledAt: Type.Number(),
})

const SumBody = Type.Object({
  key: Type.Union([Type.String(), Type.Null()]),
  currency: Type.Union([Type.String(), Type.Null()]),
  calls: Type.Integer(),
  amount: Type.String(),
})

/** `/v1/zones/{zone}/usage`: what calls cost, one by one and in sums. Only calls that a budget counted are in it. */
export function usageRoutes(desk: ApiDesk): RouteRow[] {
  const { database } = desk
  return [
    route({
      method: 'GET',
      path: '/v1/zones/:zone/usage',
      who: readers,
      summary: 'What calls cost, newest first',
      exposure: 'public',
      rate: 'read',
      params: OfZone,
      query: Type.Object({ ...LIST_QUERY, ...FILTER }),
      reply: { 200: ListOf(UsageBody) },
      handle: (request) => {
        const { limit: _limit, cursor: _cursor, ...filter } = request.query
        return listAnswer(desk.cursors, 'usage', request, filter, (page) => listUsage(database.query, zoneOf(request), filter, page))
      },
    }),
    route({
      method: 'GET',
      path: '/v1/zones/:zone/usage/sums',
      who: readers,
      summary: 'Sums of what calls cost, by group and currency',
      exposure: 'public',
      rate: 'read',
      params: OfZone,
      query: Type.Object({ ...LIST_QUERY, ...FILTER, by: Type.Enum([...USAGE_GROUPS]) }),
      reply: { 200: ListOf(SumBody) },
      handle: (request) => {
        const { limit: _limit, cursor: _cursor, by, ...filter } = request.query
        return listAnswer(desk.cursors, 'usage sums', request, { ...filter, by }, (page) =>
          sumUsage(database.query, zoneOf(request), by, filter, page),
        )
      },
    }),
  ]
}
