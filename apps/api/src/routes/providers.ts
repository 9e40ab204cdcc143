import { newId, ok, type Provider, type ProviderId, type Result, refuse, type ZoneId } from '@caracal/core'
import {
  archiveProvider,
  createProvider,
  findProvider,
  findProviderByName,
  listProviderSecrets,
  listProviders,
  listResources,
  type NewSecret,
  type ProviderFields,
  type Queryable,
  updateProvider,
} from '@caracal/postgres'
import { answer, etag, ifMatch, ListOf, Problem, type RouteRow, role, route } from '@caracal/service'
import Type, { type Static } from 'typebox'
import { providerMethod } from '../apply/check-provider.ts'
import { isBoundHost } from '../apply/check-resource.ts'
import { ProviderDocument } from '../apply/document-schemas.ts'
import { providerFieldsOf } from '../apply/plan-provider.ts'
import { adminOf } from '../authentication.ts'
import { commitChange } from '../change/commit-change.ts'
import { deletion } from '../change/delete-answer.ts'
import type { ApiDesk } from '../desk.ts'
import { kill } from '../revocations/kill.ts'
import { DeleteBody, ProviderBody } from './entity-schemas.ts'
import { markRevoked } from './mark-revoked.ts'
import { NamedListQuery, namedListAnswer } from './named-list.ts'
import { DryRunQuery, InZone, Moment, OfZone, readers, zoneOf } from './parameters.ts'
import { refuseBody } from './violations.ts'

const { name, method, hosts, placement, username, tokenEndpoint, clientId, clientAuthentication, scope, egressAllow } =
  ProviderDocument.properties

const members = { placement, username, tokenEndpoint, clientId, clientAuthentication, scope, egressAllow }
const optional = {
  expiresAt: Type.Optional(Type.Union([Moment, Type.Null()])),
  secret: Type.Optional(Type.String({ minLength: 1, maxLength: 16_384, pattern: '^[^\\x00-\\x1f\\x7f]*$' })),
}

const NewProvider = Type.Object({ name, kind: method, hosts, ...members, ...optional })
const ProviderPatch = Type.Object({
  name: Type.Optional(name),
  kind: Type.Optional(method),
  hosts: Type.Optional(hosts),
  ...members,
  ...optional,
})

/** `/v1/zones/{zone}/providers`. A secret goes in and never comes out (P-084). */
export function providerRoutes(desk: ApiDesk): RouteRow[] {
  const { database, sealing } = desk
  const revoked = markRevoked(database.query, 'provider')
  const sealedSecret = async (zone: ZoneId, id: ProviderId, version: number, secret: string): Promise<Result<NewSecret>> => {
    const digest = await sealing.digestProviderSecret(zone, id, secret)
    if (!digest.ok) return digest
    const sealed = await sealing.sealProviderSecret({ zone, provider: id, version }, secret)
    return sealed.ok ? ok({ sealed: sealed.value, version, digest: digest.value }) : sealed
  }
  return [
    route({
      method: 'GET',
      path: '/v1/zones/:zone/providers',
      who: readers,
      summary: 'Providers of a zone',
      exposure: 'public',
      rate: 'read',
      params: OfZone,
      query: NamedListQuery,
      reply: { 200: ListOf(ProviderBody) },
      handle: (request) =>
        namedListAnswer(desk.cursors, 'providers', request, {
          list: (page) => revoked.page(listProviders(database.query, zoneOf(request), page)),
          byName: (wanted) => revoked.one(findProviderByName(database.query, zoneOf(request), wanted)),
        }),
    }),
    route({
      method: 'POST',
      path: '/v1/zones/:zone/providers',
      who: role('operator'),
      summary: 'Register a provider with its secret',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      idempotent: true,
      params: OfZone,
      body: NewProvider,
      reply: { 201: ProviderBody, 409: Problem('conflict'), 422: Problem('validation_failed'), 503: Problem('sts_unavailable') },
      handle: async (request) => {
        const zone = zoneOf(request)
        const { secret, ...body } = request.body
        const fields = readFields(body)
        if (!fields.ok) return fields
        if ((body.kind === 'none') !== (secret === undefined))
          return wrongAt('secret', body.kind === 'none' ? 'is for no provider of kind none' : 'is required')
        const id = newId('provider', desk.now())
        const sealed = secret === undefined ? ok(null) : await sealedSecret(zone, id, 1, secret)
        if (!sealed.ok) return sealed
        return commitChange(desk, request, async (tx, now) => {
          const made = await createProvider(tx, { id, zone, ...fields.value, secret: sealed.value }, now)
          if (!made.ok) return made
          return ok({
            answer: answer(201, made.value, { location: `/v1/zones/${zone}/providers/${id}`, etag: etag(made.value.version) }),
            events: [{ zone, type: 'admin.changed', target: { kind: 'provider', id, name: body.name }, details: { action: 'create' } }],
            config: [{ zone, entity: 'provider', id }],
          })
        })
      },
    }),
    route({
      method: 'GET',
      path: '/v1/zones/:zone/providers/:id',
      who: readers,
      summary: 'One provider',
      exposure: 'public',
      rate: 'read',
      params: InZone('provider'),
      reply: { 200: ProviderBody, 404: Problem('not_found') },
      handle: async (request) => {
        const found = await revoked.one(findProvider(database.query, zoneOf(request), request.params.id))
        return found === undefined ? refuse('not_found') : answer(200, found, { etag: etag(found.version) })
      },
    }),
    route({
      method: 'PATCH',
      path: '/v1/zones/:zone/providers/:id',
      who: role('operator'),
      summary: 'Change members of a provider; what is not named stays, the secret too',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      params: InZone('provider'),
      body: ProviderPatch,
      reply: {
        200: ProviderBody,
        404: Problem('not_found'),
        409: Problem('conflict'),
        412: Problem('version_moved'),
        422: Problem('validation_failed'),
        503: Problem('sts_unavailable'),
      },
      handle: async (request) => {
        const zone = zoneOf(request)
        const { id } = request.params
        const before = await findProvider(database.query, zone, id)
        if (before === undefined) return refuse('not_found')
        const matched = ifMatch(request.headers['if-match'], etag(before.version))
        if (!matched.ok) return matched
        const { secret, ...changes } = request.body
        const fields = readFields(merged(before, changes))
        if (!fields.ok) return fields
        const { kind } = fields.value.method
        const held = (await listProviderSecrets(database.query, zone)).get(id)
        if (kind === 'none' && secret !== undefined) return wrongAt('secret', 'is for no provider of kind none')
        if (kind !== 'none' && secret === undefined && held === undefined) return wrongAt('secret', 'is required')
        const sealed =
          secret === undefined ? ok(kind === 'none' ? null : undefined) : await sealedSecret(zone, id, (held?.version ?? 0) + 1, secret)
        if (!sealed.ok) return sealed
        return commitChange(desk, request, async (tx, now) => {
          const unbound = await unboundResource(tx, zone, id, fields.value)
          if (unbound !== undefined) return wrongAt('hosts', `the upstream of resource ${unbound} is not among the hosts`)
          const change = { ...fields.value, ...(sealed.value === undefined ? {} : { secret: sealed.value }) }
          const after = await updateProvider(tx, before, change, now)
          if (!after.ok) return after
          const target = { kind: 'provider', id, name: after.value.name }
          return ok({
            answer: answer(200, after.value, { etag: etag(after.value.version) }),
            events: [{ zone, type: 'admin.changed', target, details: { action: 'update', fields: Object.keys(request.body) } }],
            config: [{ zone, entity: 'provider', id }],
          })
        })
      },
    }),
    route({
      method: 'DELETE',
      path: '/v1/zones/:zone/providers/:id',
      who: role('operator'),
      summary: 'Archive a provider and forget its secret; refused while a resource uses it',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      params: InZone('provider'),
      query: DryRunQuery,
      reply: { 200: DeleteBody, 404: Problem('not_found'), 409: Problem('conflict') },
      handle: (request) => {
        const dryRun = request.query.dryRun === true
        const work = async (tx: Queryable, now: number) => {
          const zone = zoneOf(request)
          const { id } = request.params
          const found = await findProvider(tx, zone, id)
          if (found === undefined) return refuse('not_found')
          const by = adminOf(request.principal).id
          const killed = await kill(tx, { zone, kind: 'provider', target: id, reason: 'the provider was deleted', by }, now)
          if (!killed.ok) return killed
          const archived = await archiveProvider(tx, found, now)
          if (!archived.ok) return archived
          return ok(deletion({ zone, kind: 'provider', id, name: found.name, dryRun }, killed.value))
        }
        return commitChange(desk, request, work, { dryRun })
      },
    }),
  ]
}

type Body = Omit<Static<typeof NewProvider>, 'secret'>

function readFields({ name: called, kind, hosts: bound, expiresAt = null, ...rest }: Body): Result<ProviderFields, 'validation_failed'> {
  const read = providerMethod({ method: kind, hosts: bound, ...rest })
  if (read.method === undefined) return refuseBody(read.faults)
  return ok({ name: called, hosts: bound.map((host) => host.toLowerCase()), expiresAt, method: read.method })
}

/** The provider with changes over it. Another kind begins with that kind's members only. */
function merged(before: Provider, changes: Omit<Static<typeof ProviderPatch>, 'secret'>): Body {
  const { name: called, hosts: bound, expiresAt, method: was } = providerFieldsOf(before)
  const { kind, ...rest } = was
  const sameKind = changes.kind === undefined || changes.kind === kind
  return { name: called, hosts: [...bound], expiresAt, kind, ...(sameKind ? rest : {}), ...changes } as Body
}

async function unboundResource(tx: Queryable, zone: ZoneId, id: ProviderId, fields: ProviderFields): Promise<string | undefined> {
  let after: string | undefined
  do {
    const page = await listResources(tx, zone, { limit: 500, after })
    const found = page.items.find((one) => one.provider === id && !isBoundHost(fields, one.upstream))
    if (found !== undefined) return found.name
    after = page.next ?? undefined
  } while (after !== undefined)
  return undefined
}

function wrongAt(field: string, message: string) {
  return refuseBody([{ field, message }])
}
