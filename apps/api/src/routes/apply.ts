import { Problem, type RouteRow, roleInAnyZone, route } from '@caracal/service'
import Type from 'typebox'
import { applyDocuments } from '../apply/apply-documents.ts'
import type { ApiDesk } from '../desk.ts'

/** Documents of a whole installation in one request. */
const MAX_BYTES = 8 * 1024 * 1024

/** `POST /v1/apply`. */
export function applyRoutes(desk: ApiDesk): RouteRow[] {
  return [
    route({
      method: 'POST',
      path: '/v1/apply',
      who: roleInAnyZone('operator', 'policy_author'),
      summary: 'Apply a set of YAML documents as a whole, or plan it',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      idempotent: true,
      maxBodyBytes: MAX_BYTES,
      body: Type.Object({
        mode: Type.Union([Type.Literal('plan'), Type.Literal('apply')]),
        activate: Type.Boolean(),
        documents: Type.Array(Type.Object({ file: Type.String({ minLength: 1, maxLength: 1024 }), text: Type.String() }), {
          minItems: 1,
          maxItems: 2_000,
        }),
        secrets: Type.Record(Type.String(), Type.String()),
      }),
      reply: {
        200: Type.Object({
          applied: Type.Boolean(),
          steps: Type.Array(
            Type.Object({
              action: Type.String(),
              kind: Type.String(),
              zone: Type.Union([Type.String(), Type.Null()]),
              name: Type.String(),
              changes: Type.Array(Type.String()),
            }),
          ),
          warnings: Type.Array(Type.String()),
        }),
        403: Problem('forbidden'),
        412: Problem('version_moved'),
        422: Problem('validation_failed'),
        503: Problem('sts_unavailable', 'keys_unavailable'),
      },
      handle: (request) => applyDocuments(desk, request, request.body),
    }),
  ]
}
