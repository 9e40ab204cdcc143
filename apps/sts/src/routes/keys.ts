import { isId, ok, type RequestId, refuse, type ZoneId } from '@caracal/core'
import { Problem, type RouteRow, role, route } from '@caracal/service'
import type { EventDraft } from '@caracal/streams'
import Type from 'typebox'
import type { Zones } from '../zones/zones.ts'

/** What a rotation came to. */
export type Rotation = { readonly promoted: boolean; readonly kid: string; readonly signsAt: number }

const PATH = '/admin/zones/:zone/keys/rotate'

/** `POST /admin/zones/{zone}/keys/rotate`; part of the table only when there is an STS_ADMIN_TOKEN. */
export function keyRoutes(zones: Zones, rotate: (zone: ZoneId, request: RequestId) => Promise<Rotation>): RouteRow[] {
  return [
    route({
      method: 'POST',
      path: PATH,
      who: role('operator'),
      summary: 'Let the next signing key sign as early as verifiers can know it',
      exposure: 'cluster',
      audit: 'admin.changed',
      params: Type.Object({ zone: Type.String() }),
      reply: {
        200: Type.Object({ kid: Type.String(), rotated: Type.Boolean(), signs_at: Type.String() }),
        404: Problem('not_found'),
        503: Problem('store_unavailable'),
      },
      handle: async (request) => {
        const zone = request.params.zone
        if (!isId('zone', zone)) return refuse('not_found')
        if (zones.get(zone) === undefined) await zones.refresh('known')
        if (zones.get(zone) === undefined) return refuse('not_found')
        const { kid, promoted, signsAt } = await rotate(zone, request.id)
        return ok({ kid, rotated: promoted, signs_at: new Date(signsAt).toISOString() })
      },
    }),
  ]
}

/** The evidence of a rotation that somebody asked for. */
export function rotationEvent(zone: ZoneId, request: RequestId): EventDraft {
  return {
    zone,
    type: 'admin.changed',
    actor: { admin: 'sts-admin' },
    operation: { method: 'POST', template: PATH },
    target: { kind: 'zone_keys', id: zone },
    request_id: request,
  }
}
