import { isId, ok, refuse } from '@caracal/core'
import { Problem, type RouteRow, role, route } from '@caracal/service'
import Type from 'typebox'
import type { MintDesk } from '../mint/mint-desk.ts'

/** What a rotation came to. */
export type Rotation = { readonly promoted: boolean; readonly kid: string; readonly signsAt: number }

/** `POST /admin/zones/{zone}/keys/rotate`; part of the table only when there is an STS_ADMIN_TOKEN. */
export function keyRoutes(desk: Pick<MintDesk, 'zones' | 'evidence'>, rotate: (zone: `zon_${string}`) => Promise<Rotation>): RouteRow[] {
  return [
    route({
      method: 'POST',
      path: '/admin/zones/:zone/keys/rotate',
      who: role('operator'),
      summary: 'Let the next signing key sign as early as verifiers can know it',
      exposure: 'cluster',
      audit: 'admin.changed',
      params: Type.Object({ zone: Type.String() }),
      reply: {
        200: Type.Object({ kid: Type.String(), rotated: Type.Boolean(), signs_at: Type.String() }),
        404: Problem('not_found'),
        503: Problem('store_unavailable', 'evidence_unavailable'),
      },
      handle: async (request) => {
        const zone = request.params.zone
        if (!isId('zone', zone)) return refuse('not_found')
        if (desk.zones.get(zone) === undefined && !(await desk.zones.refresh('known'))) return refuse('not_found')
        if (desk.zones.get(zone) === undefined) return refuse('not_found')
        await desk.evidence.record({
          zone,
          type: 'admin.changed',
          actor: { admin: 'sts-admin' },
          operation: { method: 'POST', template: '/admin/zones/:zone/keys/rotate' },
          target: { kind: 'zone_keys', id: zone },
          request_id: request.id,
        })
        const { kid, promoted, signsAt } = await rotate(zone)
        return ok({ kid, rotated: promoted, signs_at: new Date(signsAt).toISOString() })
      },
    }),
  ]
}
