import { ok, refuse } from '@caracal/core'
import { findSession } from '@caracal/postgres'
import { Problem, type RouteRow, route } from '@caracal/service'
import Type from 'typebox'
import { callerOf, reaches } from '../callers/caller.ts'
import type { CoordinatorDesk } from '../desk.ts'
import { IdOf, InZone, zoneOf } from '../routes/parameters.ts'
import { SESSION_READERS } from '../routes/who-may.ts'
import { sessionAuthority } from './session-authority.ts'

const Held = Type.Object({
  scope: Type.String(),
  effect: Type.Union([Type.Literal('allow'), Type.Literal('hold')]),
  deferred: Type.Boolean({ description: 'Rules that read the call may still refuse it' }),
  rules: Type.Array(Type.String()),
})
const Way = Type.Object({
  delegation: Type.Union([IdOf('delegation'), Type.Null()], { description: 'Null: by its own right' }),
  until: Type.Union([Type.Number(), Type.Null()], { description: 'Unix time in milliseconds' }),
  reason: Type.Union([Type.String(), Type.Null()], { description: 'Why nothing can be done this way' }),
  resources: Type.Array(Type.Object({ resource: IdOf('resource'), identifier: Type.String(), scopes: Type.Array(Held) })),
})

/** What a session can do now, as a mint would decide it. */
export function authorityRoutes(desk: CoordinatorDesk): RouteRow[] {
  return [
    route({
      method: 'GET',
      path: '/v1/zones/:zone/sessions/:id/authority',
      who: SESSION_READERS,
      summary: 'What a session can really do now, for each resource',
      exposure: 'public',
      rate: 'authority',
      params: InZone('session'),
      reply: {
        200: Type.Object({ session: IdOf('session'), ways: Type.Array(Way) }),
        404: Problem('not_found'),
        503: Problem('policy_unavailable', 'revocation_view_stale', 'store_unavailable', 'starting'),
      },
      handle: async (request) => {
        const zone = desk.state.zone(zoneOf(request))
        const session = await findSession(desk.database.query, zoneOf(request), request.params.id)
        if (zone === undefined || session === undefined || !reaches(callerOf(request.principal), session)) return refuse('not_found')
        const unfit = desk.view.unfit()
        if (unfit !== null) return refuse('revocation_view_stale', unfit)
        const ways = await sessionAuthority(desk, desk.database.query, zone, session)
        if (!ways.ok) return ways
        const shown = ways.value.map(({ resources, ...way }) => ({
          ...way,
          resources: resources.map(({ resource, identifier, scopes }) => ({
            resource,
            identifier,
            scopes: scopes.map((held) => ({ ...held, rules: [...held.rules] })),
          })),
        }))
        return ok({ session: session.id, ways: shown })
      },
    }),
  ]
}
