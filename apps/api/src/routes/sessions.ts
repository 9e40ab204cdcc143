import { refuse } from '@caracal/core'
import { findDelegation, findSession, listDelegations, listSessions } from '@caracal/postgres'
import { answer, etag, LIST_QUERY, ListOf, Problem, type RouteRow, route } from '@caracal/service'
import Type from 'typebox'
import type { ApiDesk } from '../desk.ts'
import { DelegationBody, SessionBody } from './entity-schemas.ts'
import { listAnswer } from './named-list.ts'
import { IdOf, InZone, OfZone, readers, zoneOf } from './parameters.ts'

const SessionQuery = Type.Object({
  ...LIST_QUERY,
  application: Type.Optional(IdOf('application')),
  state: Type.Optional(Type.Enum(['active', 'suspended', 'ended'])),
  parent: Type.Optional(IdOf('session')),
  under: Type.Optional(IdOf('session')),
})

const DelegationQuery = Type.Object({
  ...LIST_QUERY,
  from: Type.Optional(IdOf('session')),
  to: Type.Optional(IdOf('session')),
  state: Type.Optional(Type.Enum(['offered', 'active', 'revoked'])),
  under: Type.Optional(IdOf('delegation')),
})

/** Sessions and delegations to look at; the Coordinator writes them. */
export function sessionRoutes(desk: ApiDesk): RouteRow[] {
  const { database } = desk
  return [
    route({
      method: 'GET',
      path: '/v1/zones/:zone/sessions',
      who: readers,
      summary: 'Sessions of a zone, newest first',
      exposure: 'public',
      rate: 'read',
      params: OfZone,
      query: SessionQuery,
      reply: { 200: ListOf(SessionBody) },
      handle: (request) => {
        const { limit: _limit, cursor: _cursor, ...filter } = request.query
        return listAnswer(desk.cursors, 'sessions', request, filter, (page) => listSessions(database.query, zoneOf(request), filter, page))
      },
    }),
    route({
      method: 'GET',
      path: '/v1/zones/:zone/sessions/:id',
      who: readers,
      summary: 'One session',
      exposure: 'public',
      rate: 'read',
      params: InZone('session'),
      reply: { 200: SessionBody, 404: Problem('not_found') },
      handle: async (request) => {
        const found = await findSession(database.query, zoneOf(request), request.params.id)
        return found === undefined ? refuse('not_found') : answer(200, found, { etag: etag(found.version) })
      },
    }),
    route({
      method: 'GET',
      path: '/v1/zones/:zone/delegations',
      who: readers,
      summary: 'Delegations of a zone, newest first',
      exposure: 'public',
      rate: 'read',
      params: OfZone,
      query: DelegationQuery,
      reply: { 200: ListOf(DelegationBody) },
      handle: (request) => {
        const { limit: _limit, cursor: _cursor, ...filter } = request.query
        return listAnswer(desk.cursors, 'delegations', request, filter, (page) =>
          listDelegations(database.query, zoneOf(request), filter, page),
        )
      },
    }),
    route({
      method: 'GET',
      path: '/v1/zones/:zone/delegations/:id',
      who: readers,
      summary: 'One delegation',
      exposure: 'public',
      rate: 'read',
      params: InZone('delegation'),
      reply: { 200: DelegationBody, 404: Problem('not_found') },
      handle: async (request) => {
        const found = await findDelegation(database.query, zoneOf(request), request.params.id)
        return found === undefined ? refuse('not_found') : answer(200, found, { etag: etag(found.version) })
      },
    }),
  ]
}
