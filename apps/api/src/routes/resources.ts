import { isId, newId, ok, type Result, refuse, type ZoneId } from '@caracal/core'
import {
  archiveResource,
  createResource,
  findProvider,
  findProviderByName,
  findResource,
  findResourceByName,
  listResources,
  type Queryable,
  type ResourceFields,
  updateResource,
} from '@caracal/postgres'
import { answer, etag, ifMatch, ListOf, Problem, type RouteRow, role, route } from '@caracal/service'
import Type, { type Static } from 'typebox'
import { isBoundHost, resourceFaults } from '../apply/check-resource.ts'
import { ResourceDocument, resourceDefaults } from '../apply/document-schemas.ts'
import { adminOf } from '../authentication.ts'
import { commitChange } from '../change/commit-change.ts'
import { deletion } from '../change/delete-answer.ts'
import type { ApiDesk } from '../desk.ts'
import { kill } from '../revocations/kill.ts'
import { DeleteBody, ResourceBody } from './entity-schemas.ts'
import { markRevoked } from './mark-revoked.ts'
import { NamedListQuery, namedListAnswer } from './named-list.ts'
import { DryRunQuery, InZone, OfZone, readers, zoneOf } from './parameters.ts'
import { refuseBody } from './violations.ts'

const { kind: _kind, zone: _zone, type, provider: _provider, ...members } = ResourceDocument.properties

/** The members of a document; the provider by name or id. */
const ResourceInput = Type.Object({
  ...members,
  kind: type,
  provider: Type.Optional(Type.Union([Type.String({ minLength: 1, maxLength: 63 }), Type.Null()])),
})

/** `/v1/zones/{zone}/resources`. */
export function resourceRoutes(desk: ApiDesk): RouteRow[] {
  const { database } = desk
  const revoked = markRevoked(database.query, 'resource')
  return [
    route({
      method: 'GET',
      path: '/v1/zones/:zone/resources',
      who: readers,
      summary: 'Resources of a zone',
      exposure: 'public',
      rate: 'read',
      params: OfZone,
      query: NamedListQuery,
      reply: { 200: ListOf(ResourceBody) },
      handle: (request) =>
        namedListAnswer(desk.cursors, 'resources', request, {
          list: (page) => revoked.page(listResources(database.query, zoneOf(request), page)),
          byName: (name) => revoked.one(findResourceByName(database.query, zoneOf(request), name)),
        }),
    }),
    route({
      method: 'POST',
      path: '/v1/zones/:zone/resources',
      who: role('operator'),
      summary: 'Declare a resource',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      idempotent: true,
      params: OfZone,
      body: ResourceInput,
      reply: { 201: ResourceBody, 409: Problem('conflict'), 422: Problem('validation_failed') },
      handle: (request) =>
        commitChange(desk, request, async (tx, now) => {
          const zone = zoneOf(request)
          const fields = await readFields(tx, zone, request.body)
          if (!fields.ok) return fields
          const made = await createResource(tx, { ...fields.value, id: newId('resource', now), zone }, now)
          if (!made.ok) return made
          const { id, name, version } = made.value
          return ok({
            answer: answer(201, made.value, { location: `/v1/zones/${zone}/resources/${id}`, etag: etag(version) }),
            events: [{ zone, type: 'admin.changed', target: { kind: 'resource', id, name }, details: { action: 'create' } }],
            config: [{ zone, entity: 'resource', id }],
          })
        }),
    }),
    route({
      method: 'GET',
      path: '/v1/zones/:zone/resources/:id',
      who: readers,
      summary: 'One resource',
      exposure: 'public',
      rate: 'read',
      params: InZone('resource'),
      reply: { 200: ResourceBody, 404: Problem('not_found') },
      handle: async (request) => {
        const found = await revoked.one(findResource(database.query, zoneOf(request), request.params.id))
        return found === undefined ? refuse('not_found') : answer(200, found, { etag: etag(found.version) })
      },
    }),
    route({
      method: 'PUT',
      path: '/v1/zones/:zone/resources/:id',
      who: role('operator'),
      summary: 'Replace a resource as a whole',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      params: InZone('resource'),
      body: ResourceInput,
      reply: {
        200: ResourceBody,
        404: Problem('not_found'),
        409: Problem('conflict'),
        412: Problem('version_moved'),
        422: Problem('validation_failed'),
      },
      handle: (request) =>
        commitChange(desk, request, async (tx, now) => {
          const zone = zoneOf(request)
          const { id } = request.params
          const before = await findResource(tx, zone, id)
          if (before === undefined) return refuse('not_found')
          const matched = ifMatch(request.headers['if-match'], etag(before.version))
          if (!matched.ok) return matched
          const fields = await readFields(tx, zone, request.body)
          if (!fields.ok) return fields
          const after = await updateResource(tx, before, fields.value, now)
          if (!after.ok) return after
          const target = { kind: 'resource', id, name: after.value.name }
          return ok({
            answer: answer(200, after.value, { etag: etag(after.value.version) }),
            events: [{ zone, type: 'admin.changed', target, details: { action: 'update' } }],
            config: [{ zone, entity: 'resource', id }],
          })
        }),
    }),
    route({
      method: 'DELETE',
      path: '/v1/zones/:zone/resources/:id',
      who: role('operator'),
      summary: 'Archive a resource, which revokes every mandate for it',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      params: InZone('resource'),
      query: DryRunQuery,
      reply: { 200: DeleteBody, 404: Problem('not_found') },
      handle: (request) => {
        const dryRun = request.query.dryRun === true
        const work = async (tx: Queryable, now: number) => {
          const zone = zoneOf(request)
          const { id } = request.params
          const found = await findResource(tx, zone, id)
          if (found === undefined) return refuse('not_found')
          const by = adminOf(request.principal).id
          const killed = await kill(tx, { zone, kind: 'resource', target: id, reason: 'the resource was deleted', by }, now)
          if (!killed.ok) return killed
          const archived = await archiveResource(tx, found, now)
          if (!archived.ok) return archived
          return ok(deletion({ zone, kind: 'resource', id, name: found.name, dryRun }, killed.value))
        }
        return commitChange(desk, request, work, { dryRun })
      },
    }),
  ]
}

/** The body as a whole resource, checked against the provider it names. */
async function readFields(
  tx: Queryable,
  zone: ZoneId,
  { kind, provider: named = null, ...body }: Static<typeof ResourceInput>,
): Promise<Result<ResourceFields, 'validation_failed'>> {
  const found =
    named === null ? null : isId('provider', named) ? await findProvider(tx, zone, named) : await findProviderByName(tx, zone, named)
  const defaults = resourceDefaults({ ...body, kind: 'Resource', ...(kind === undefined ? {} : { type: kind }) })
  const { name, identifier, upstream, scopes } = body
  const fields: ResourceFields = { name, identifier, upstream, scopes, provider: found?.id ?? null, ...defaults }
  const faults = [...resourceFaults(fields)]
  if (found === undefined) faults.push({ field: 'provider', message: 'there is no such provider in the zone' })
  else if (found !== null && !isBoundHost(found, upstream))
    faults.push({ field: 'upstream', message: `its host is not among the hosts of provider ${found.name}` })
  return faults.length === 0 ? ok(fields) : refuseBody(faults)
}
