import { newId, ok, refuse } from '@caracal/core'
import {
  archiveApplication,
  createApplication,
  findApplication,
  findApplicationByName,
  listApplications,
  listCredentials,
  type Queryable,
  updateApplication,
} from '@caracal/postgres'
import { answer, etag, ifMatch, ListOf, Problem, type RouteRow, role, route } from '@caracal/service'
import Type from 'typebox'
import { adminOf } from '../authentication.ts'
import { commitChange } from '../change/commit-change.ts'
import { deletion } from '../change/delete-answer.ts'
import type { ApiDesk } from '../desk.ts'
import { kill } from '../revocations/kill.ts'
import { ApplicationBody, DeleteBody } from './entity-schemas.ts'
import { markRevoked } from './mark-revoked.ts'
import { NamedListQuery, namedListAnswer } from './named-list.ts'
import { DryRunQuery, InZone, LabelTexts, NameText, OfZone, readers, zoneOf } from './parameters.ts'

/** `/v1/zones/{zone}/applications`. */
export function applicationRoutes(desk: ApiDesk): RouteRow[] {
  const { database } = desk
  const revoked = markRevoked(database.query, 'application')
  const common = { exposure: 'public', params: InZone('application') } as const
  return [
    route({
      method: 'GET',
      path: '/v1/zones/:zone/applications',
      who: readers,
      summary: 'Applications of a zone',
      exposure: 'public',
      rate: 'read',
      params: OfZone,
      query: NamedListQuery,
      reply: { 200: ListOf(ApplicationBody) },
      handle: (request) =>
        namedListAnswer(desk.cursors, 'applications', request, {
          list: (page) => revoked.page(listApplications(database.query, zoneOf(request), page)),
          byName: (name) => revoked.one(findApplicationByName(database.query, zoneOf(request), name)),
        }),
    }),
    route({
      method: 'POST',
      path: '/v1/zones/:zone/applications',
      who: role('operator'),
      summary: 'Register an application',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      idempotent: true,
      params: OfZone,
      body: Type.Object({ name: NameText, labels: Type.Optional(LabelTexts) }),
      reply: { 201: ApplicationBody, 409: Problem('conflict') },
      handle: (request) =>
        commitChange(desk, request, async (tx, now) => {
          const zone = zoneOf(request)
          const { name, labels = [] } = request.body
          const made = await createApplication(tx, { id: newId('application', now), zone, name, labels }, now)
          if (!made.ok) return made
          const { id, version } = made.value
          return ok({
            answer: answer(201, made.value, { location: `/v1/zones/${zone}/applications/${id}`, etag: etag(version) }),
            events: [{ zone, type: 'admin.changed', target: { kind: 'application', id, name }, details: { action: 'create' } }],
            config: [{ zone, entity: 'application', id }],
          })
        }),
    }),
    route({
      ...common,
      method: 'GET',
      path: '/v1/zones/:zone/applications/:id',
      who: readers,
      summary: 'One application',
      rate: 'read',
      reply: { 200: ApplicationBody, 404: Problem('not_found') },
      handle: async (request) => {
        const found = await revoked.one(findApplication(database.query, zoneOf(request), request.params.id))
        return found === undefined ? refuse('not_found') : answer(200, found, { etag: etag(found.version) })
      },
    }),
    route({
      ...common,
      method: 'PATCH',
      path: '/v1/zones/:zone/applications/:id',
      who: role('operator'),
      summary: 'Change name or labels of an application',
      rate: 'mutation',
      audit: 'admin.changed',
      body: Type.Object({ name: Type.Optional(NameText), labels: Type.Optional(LabelTexts) }),
      reply: { 200: ApplicationBody, 404: Problem('not_found'), 409: Problem('conflict'), 412: Problem('version_moved') },
      handle: (request) =>
        commitChange(desk, request, async (tx, now) => {
          const zone = zoneOf(request)
          const { id } = request.params
          const before = await findApplication(tx, zone, id)
          if (before === undefined) return refuse('not_found')
          const matched = ifMatch(request.headers['if-match'], etag(before.version))
          if (!matched.ok) return matched
          const after = await updateApplication(tx, before, request.body, now)
          if (!after.ok) return after
          const target = { kind: 'application', id, name: after.value.name }
          return ok({
            answer: answer(200, after.value, { etag: etag(after.value.version) }),
            events: [{ zone, type: 'admin.changed', target, details: { action: 'update', fields: Object.keys(request.body) } }],
            config: [{ zone, entity: 'application', id }],
          })
        }),
    }),
    route({
      ...common,
      method: 'DELETE',
      path: '/v1/zones/:zone/applications/:id',
      who: role('operator'),
      summary: 'Archive an application, which revokes it and ends its sessions',
      rate: 'mutation',
      audit: 'admin.changed',
      query: DryRunQuery,
      reply: { 200: DeleteBody, 404: Problem('not_found') },
      handle: (request) => {
        const dryRun = request.query.dryRun === true
        const work = async (tx: Queryable, now: number) => {
          const zone = zoneOf(request)
          const { id } = request.params
          const found = await findApplication(tx, zone, id)
          if (found === undefined) return refuse('not_found')
          const by = adminOf(request.principal).id
          const killed = await kill(tx, { zone, kind: 'application', target: id, reason: 'the application was deleted', by }, now)
          if (!killed.ok) return killed
          const credentials = (await listCredentials(tx, zone, id)).length
          const archived = await archiveApplication(tx, found, now)
          if (!archived.ok) return archived
          const affects = { ...killed.value.affects, credentials }
          return ok(deletion({ zone, kind: 'application', id, name: found.name, dryRun }, { ...killed.value, affects }))
        }
        return commitChange(desk, request, work, { dryRun })
      },
    }),
  ]
}
