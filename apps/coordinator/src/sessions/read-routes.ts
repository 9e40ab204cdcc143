import { ok, refuse, type Session, type SessionId, type ZoneId } from '@caracal/core'
import { findSession, listSessions, type SessionFilter } from '@caracal/postgres'
import { LIST_QUERY, ListOf, Problem, type RouteRow, route } from '@caracal/service'
import Type from 'typebox'
import { callerOf, reaches } from '../callers/caller.ts'
import type { CoordinatorDesk } from '../desk.ts'
import { pageAnswer } from '../routes/page.ts'
import { IdOf, InZone, OfZone, zoneOf } from '../routes/parameters.ts'
import { SESSION_READERS } from '../routes/who-may.ts'
import { readHeadroom } from './limits.ts'
import { SessionBody, showSessions } from './session-body.ts'

const State = Type.Union([Type.Literal('active'), Type.Literal('suspended'), Type.Literal('ended')])
const ListQuery = Type.Object({
  ...LIST_QUERY,
  state: Type.Optional(State),
  parent: Type.Optional(IdOf('session')),
  application: Type.Optional(IdOf('application')),
})
const Usage = Type.Object({ most: Type.Integer(), used: Type.Integer() })
const Limits = Type.Object({ zone: Usage, application: Usage, children: Type.Integer(), depth: Type.Integer() })

const refusals = { 404: Problem('not_found'), 503: Problem('revocation_view_stale', 'store_unavailable', 'starting') } as const

/** Reads of sessions: an application sees its own only (P-040). */
export function sessionReadRoutes(desk: CoordinatorDesk): RouteRow[] {
  const { database, clock } = desk
  const show = (zone: ZoneId) => (sessions: readonly Session[]) => showSessions(database.query, zone, sessions, clock())

  const list = route({
    method: 'GET',
    path: '/v1/zones/:zone/sessions',
    who: SESSION_READERS,
    summary: 'Sessions, newest first',
    exposure: 'public',
    params: OfZone,
    query: ListQuery,
    reply: { 200: ListOf(SessionBody), ...refusals },
    handle: (request) => {
      const zone = zoneOf(request)
      const caller = callerOf(request.principal)
      const { state, parent } = request.query
      const application = caller.application ?? request.query.application
      const filter: SessionFilter = { state, parent, application, under: caller.within ?? undefined }
      if (caller.application !== null && (request.query.application ?? application) !== application) return refuse('not_found')
      const binding = { route: 'sessions', kind: 'session', filter: { ...filter } } as const
      return pageAnswer(desk.cursors, binding, request, (page) => listSessions(database.query, zone, filter, page), show(zone))
    },
  })

  const visible = async (zone: ZoneId, id: SessionId, principal: Parameters<typeof callerOf>[0]): Promise<Session | undefined> => {
    const found = await findSession(database.query, zone, id)
    return found !== undefined && reaches(callerOf(principal), found) ? found : undefined
  }

  const get = route({
    method: 'GET',
    path: '/v1/zones/:zone/sessions/:id',
    who: SESSION_READERS,
    summary: 'One session',
    exposure: 'public',
    params: InZone('session'),
    reply: { 200: SessionBody, ...refusals },
    handle: async (request) => {
      const zone = zoneOf(request)
      const found = await visible(zone, request.params.id, request.principal)
      const [body] = found === undefined ? [] : await show(zone)([found])
      return body === undefined ? refuse('not_found') : ok(body)
    },
  })

  const tree = route({
    method: 'GET',
    path: '/v1/zones/:zone/sessions/:id/tree',
    who: SESSION_READERS,
    summary: 'A session and everything below it, newest first',
    exposure: 'public',
    params: InZone('session'),
    query: Type.Object({ ...LIST_QUERY, state: Type.Optional(State) }),
    reply: { 200: ListOf(SessionBody), ...refusals },
    handle: async (request) => {
      const zone = zoneOf(request)
      const { id } = request.params
      if ((await visible(zone, id, request.principal)) === undefined) return refuse('not_found')
      const filter: SessionFilter = { under: id, state: request.query.state }
      const binding = { route: 'session-tree', kind: 'session', filter: { ...filter } } as const
      return pageAnswer(desk.cursors, binding, request, (page) => listSessions(database.query, zone, filter, page), show(zone))
    },
  })

  const limits = route({
    method: 'GET',
    path: '/v1/zones/:zone/session-limits',
    who: SESSION_READERS,
    summary: 'How many sessions may live, and how many do',
    exposure: 'public',
    params: OfZone,
    query: Type.Object({ application: Type.Optional(IdOf('application')) }),
    reply: { 200: Limits, ...refusals, 400: Problem('missing_parameter') },
    handle: async (request) => {
      const application = callerOf(request.principal).application ?? request.query.application
      if (application === undefined) return refuse('missing_parameter', 'application')
      const headroom = await readHeadroom(database.query, desk.limits, zoneOf(request), application, clock())
      return ok({ ...headroom, children: desk.limits.children, depth: desk.limits.depth })
    },
  })

  return [list, get, tree, limits]
}
