import { newId, ok, refuse } from '@caracal/core'
import { archiveZone, createZone, findZone, findZoneByName, inZone, listZones, updateZone } from '@caracal/postgres'
import { answer, etag, ifMatch, ListOf, Problem, type RouteRow, role, roleInAnyZone, route } from '@caracal/service'
import Type from 'typebox'
import { adminOf } from '../authentication.ts'
import { commitChange } from '../change/commit-change.ts'
import { deletion } from '../change/delete-answer.ts'
import type { ApiDesk } from '../desk.ts'
import { kill } from '../revocations/kill.ts'
import { DeleteBody, ZoneBody } from './entity-schemas.ts'
import { markRevoked } from './mark-revoked.ts'
import { NamedListQuery, namedListAnswer } from './named-list.ts'
import { DryRunQuery, LabelTexts, NameText, OfZone, readers, zoneOf } from './parameters.ts'

/** `/v1/zones`. */
export function zoneRoutes(desk: ApiDesk): RouteRow[] {
  const { database } = desk
  const revoked = markRevoked(database.query, 'zone')
  return [
    route({
      method: 'GET',
      path: '/v1/zones',
      who: roleInAnyZone('viewer', 'operator', 'policy_author', 'approver', 'auditor'),
      summary: 'Zones: every one, or the one of the token',
      exposure: 'public',
      rate: 'read',
      query: NamedListQuery,
      reply: { 200: ListOf(ZoneBody) },
      handle: (request) => {
        const own = adminOf(request.principal).zone
        if (own === null) {
          return namedListAnswer(desk.cursors, 'zones', request, {
            list: (page) => revoked.page(listZones(database.query, page)),
            byName: (name) => revoked.one(findZoneByName(database.query, name)),
          })
        }
        const mine = async (name: string | undefined) => {
          const zone = await revoked.one(findZone(database.query, own))
          return zone !== undefined && (name === undefined || zone.name === name) ? zone : undefined
        }
        return namedListAnswer(desk.cursors, 'zones', request, {
          list: async () => ({ items: [await mine(undefined)].flatMap((zone) => zone ?? []), next: null }),
          byName: mine,
        })
      },
    }),
    route({
      method: 'POST',
      path: '/v1/zones',
      who: role('admin'),
      summary: 'Make a zone',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      idempotent: true,
      body: Type.Object({ name: NameText, labels: Type.Optional(LabelTexts) }),
      reply: { 201: ZoneBody, 409: Problem('conflict') },
      handle: (request) =>
        commitChange(desk, request, async (tx, now) => {
          const { name, labels = [] } = request.body
          const id = newId('zone', now)
          const made = await inZone(id, () => createZone(tx, { id, name, labels }, now))
          if (!made.ok) return made
          const zone = made.value
          return ok({
            answer: answer(201, zone, { location: `/v1/zones/${zone.id}`, etag: etag(zone.version) }),
            events: [{ zone: zone.id, type: 'admin.changed', target: { kind: 'zone', id: zone.id, name }, details: { action: 'create' } }],
            config: [{ zone: zone.id, entity: 'zone', id: zone.id }],
          })
        }),
    }),
    route({
      method: 'GET',
      path: '/v1/zones/:zone',
      who: readers,
      summary: 'One zone',
      exposure: 'public',
      rate: 'read',
      params: OfZone,
      reply: { 200: ZoneBody, 404: Problem('not_found') },
      handle: async (request) => {
        const zone = await findZone(database.query, zoneOf(request))
        return zone === undefined ? refuse('not_found') : answer(200, zone, { etag: etag(zone.version) })
      },
    }),
    route({
      method: 'PATCH',
      path: '/v1/zones/:zone',
      who: role('admin'),
      summary: 'Change name or labels of a zone',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      params: OfZone,
      body: Type.Object({ name: Type.Optional(NameText), labels: Type.Optional(LabelTexts) }),
      reply: { 200: ZoneBody, 404: Problem('not_found'), 409: Problem('conflict'), 412: Problem('version_moved') },
      handle: (request) =>
        commitChange(desk, request, async (tx, now) => {
          const id = zoneOf(request)
          const before = await findZone(tx, id)
          if (before === undefined) return refuse('not_found')
          const matched = ifMatch(request.headers['if-match'], etag(before.version))
          if (!matched.ok) return matched
          const after = await updateZone(tx, before, request.body, now)
          if (!after.ok) return after
          const target = { kind: 'zone', id, name: after.value.name }
          return ok({
            answer: answer(200, after.value, { etag: etag(after.value.version) }),
            events: [{ zone: id, type: 'admin.changed', target, details: { action: 'update', fields: Object.keys(request.body) } }],
            config: [{ zone: id, entity: 'zone', id }],
          })
        }),
    }),
    route({
      method: 'DELETE',
      path: '/v1/zones/:zone',
      who: role('admin'),
      summary: 'Archive a zone, which revokes everything in it',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      params: OfZone,
      query: DryRunQuery,
      reply: { 200: DeleteBody, 404: Problem('not_found') },
      handle: (request) => {
        const dryRun = request.query.dryRun === true
        const work = async (tx: Parameters<typeof kill>[0], now: number) => {
          const id = zoneOf(request)
          const zone = await findZone(tx, id)
          if (zone === undefined) return refuse('not_found')
          const order = { zone: id, kind: 'zone', target: id, reason: 'the zone was deleted', by: adminOf(request.principal).id } as const
          const killed = await kill(tx, order, now)
          if (!killed.ok) return killed
          const archived = await archiveZone(tx, zone, now)
          if (!archived.ok) return archived
          return ok(deletion({ zone: id, kind: 'zone', id, name: zone.name, dryRun }, killed.value))
        }
        return commitChange(desk, request, work, { dryRun })
      },
    }),
  ]
}
