import { ok, refuse } from '@caracal/core'
import { answer, Problem, type RouteRow, role, route } from '@caracal/service'
import Type from 'typebox'
import { commitChange } from '../change/commit-change.ts'
import type { ApiDesk } from '../desk.ts'
import { explainRequest } from '../explain/explain-request.ts'
import { IdOf, zoneOf } from './parameters.ts'

/** `/v1/zones/{zone}/events/explain/{request_id}`. */
export function explainRoutes(desk: ApiDesk): RouteRow[] {
  return [
    route({
      method: 'GET',
      path: '/v1/zones/:zone/events/explain/:request',
      who: role('auditor', 'operator'),
      summary: 'What one request asked, which rules decided, and what would have to change; reading it is evidence too',
      exposure: 'public',
      rate: 'read',
      audit: 'evidence.read',
      params: Type.Object({ zone: Type.String(), request: IdOf('request') }),
      reply: {
        200: Type.Object({
          request_id: Type.String(),
          summary: Type.String(),
          events: Type.Array(
            Type.Object({
              id: Type.String(),
              time: Type.String(),
              type: Type.String(),
              decision: Type.Optional(Type.String()),
              reason: Type.Optional(Type.String()),
            }),
          ),
          rules: Type.Array(Type.Object({ rule: Type.String(), policy: Type.String(), effect: Type.String(), text: Type.String() })),
          remedy: Type.Union([Type.String(), Type.Null()]),
        }),
        404: Problem('not_found'),
      },
      handle: (request) =>
        commitChange(desk, request, async (tx) => {
          const zone = zoneOf(request)
          const found = await explainRequest(tx, zone, request.params.request)
          if (found === undefined) return refuse('not_found', 'the ledger holds no event of that request yet')
          return ok({
            answer: answer(200, found),
            events: [
              {
                zone,
                type: 'evidence.read',
                target: { kind: 'request', id: request.params.request },
                details: { events: found.events.length },
              },
            ],
          })
        }),
    }),
  ]
}
