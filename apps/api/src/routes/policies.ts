import { newId, ok, type PolicyVersion, refuse } from '@caracal/core'
import {
  addPolicyVersion,
  archivePolicy,
  createPolicy,
  findPolicy,
  findPolicyByName,
  findPolicyVersion,
  listPolicies,
  listPolicyVersions,
  type Queryable,
} from '@caracal/postgres'
import { answer, etag, ListOf, Problem, type RouteRow, role, route } from '@caracal/service'
import Type from 'typebox'
import { readActive } from '../apply/holdings.ts'
import { writeSetVersion } from '../apply/write-plan.ts'
import { adminOf } from '../authentication.ts'
import { commitChange } from '../change/commit-change.ts'
import { deletion } from '../change/delete-answer.ts'
import type { ApiDesk } from '../desk.ts'
import { readPolicySource } from '../policies/read-source.ts'
import { DeleteBody, PolicyBody, PolicyVersionBody } from './entity-schemas.ts'
import { ListQuery, listAnswer, NamedListQuery, namedListAnswer } from './named-list.ts'
import { DryRunQuery, IdOf, InZone, OfZone, readers, zoneOf } from './parameters.ts'

const Source = Type.Object({ source: Type.String({ minLength: 1, maxLength: 524_288, description: 'One YAML document of kind Policy' }) })

/** `/v1/zones/{zone}/policies`: drafts have no place here; what is written is a version, and a version never changes. */
export function policyRoutes(desk: ApiDesk): RouteRow[] {
  const { database } = desk
  return [
    route({
      method: 'GET',
      path: '/v1/zones/:zone/policies',
      who: readers,
      summary: 'Policies of a zone',
      exposure: 'public',
      rate: 'read',
      params: OfZone,
      query: NamedListQuery,
      reply: { 200: ListOf(PolicyBody) },
      handle: (request) =>
        namedListAnswer(desk.cursors, 'policies', request, {
          list: (page) => listPolicies(database.query, zoneOf(request), page),
          byName: (name) => findPolicyByName(database.query, zoneOf(request), name),
        }),
    }),
    route({
      method: 'POST',
      path: '/v1/zones/:zone/policies',
      who: role('policy_author'),
      summary: 'Make a policy with its first version; nothing is activated',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      idempotent: true,
      params: OfZone,
      body: Source,
      reply: { 201: PolicyVersionBody, 409: Problem('conflict'), 422: Problem('validation_failed') },
      handle: (request) => {
        const text = readPolicySource(request.body.source)
        if (!text.ok) return text
        const { name } = text.value.document
        return commitChange(desk, request, async (tx, now) => {
          const zone = zoneOf(request)
          const made = await createPolicy(tx, { id: newId('policy', now), zone, name }, now)
          if (!made.ok) return made
          return addVersion(tx, made.value, text.value, adminOf(request.principal).id, now, 'create')
        })
      },
    }),
    route({
      method: 'GET',
      path: '/v1/zones/:zone/policies/:id',
      who: readers,
      summary: 'One policy',
      exposure: 'public',
      rate: 'read',
      params: InZone('policy'),
      reply: { 200: PolicyBody, 404: Problem('not_found') },
      handle: async (request) => {
        const found = await findPolicy(database.query, zoneOf(request), request.params.id)
        return found === undefined ? refuse('not_found') : answer(200, found, { etag: etag(found.version) })
      },
    }),
    route({
      method: 'DELETE',
      path: '/v1/zones/:zone/policies/:id',
      who: role('policy_author'),
      summary: 'Archive a policy; when it is active, a set version without it becomes active',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      params: InZone('policy'),
      query: DryRunQuery,
      reply: { 200: DeleteBody, 404: Problem('not_found'), 412: Problem('version_moved') },
      handle: (request) => {
        const dryRun = request.query.dryRun === true
        const work = async (tx: Queryable, now: number) => {
          const zone = zoneOf(request)
          const policy = await findPolicy(tx, zone, request.params.id)
          if (policy === undefined) return refuse('not_found')
          const archived = await archivePolicy(tx, policy, now)
          if (!archived.ok) return archived
          const what = { zone, kind: 'policy', id: policy.id, name: policy.name, dryRun } as const
          const active = await readActive(tx, zone)
          const member = active?.members.find((one) => one.policy === policy.id)
          const affects = { rules: member?.document.rules.length ?? 0 }
          if (active === null || member === undefined) return ok(deletion(what, { revocations: [], events: [], affects }))
          const members = active.members
            .filter((one) => one.policy !== policy.id)
            .map(({ policy: of, version, sha256 }) => ({ policy: of, version, sha256 }))
          const by = adminOf(request.principal).id
          const written = await writeSetVersion(tx, { zone, members, expected: active.generation, by }, now)
          if (!written.ok) return written
          return ok(deletion(what, { revocations: [], events: [], affects }, written.value))
        }
        return commitChange(desk, request, work, { dryRun })
      },
    }),
    route({
      method: 'GET',
      path: '/v1/zones/:zone/policies/:id/versions',
      who: readers,
      summary: 'Versions of a policy, newest first',
      exposure: 'public',
      rate: 'read',
      params: InZone('policy'),
      query: ListQuery,
      reply: { 200: ListOf(PolicyVersionBody), 404: Problem('not_found') },
      handle: async (request) => {
        const zone = zoneOf(request)
        const { id } = request.params
        if ((await findPolicy(database.query, zone, id)) === undefined) return refuse('not_found')
        return listAnswer(desk.cursors, 'policy-versions', request, { policy: id }, (page) =>
          listPolicyVersions(database.query, zone, id, page),
        )
      },
    }),
    route({
      method: 'POST',
      path: '/v1/zones/:zone/policies/:id/versions',
      who: role('policy_author'),
      summary: 'Add a version; the same content is the same version',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      idempotent: true,
      params: InZone('policy'),
      body: Source,
      reply: { 201: PolicyVersionBody, 404: Problem('not_found'), 422: Problem('validation_failed') },
      handle: (request) => {
        const text = readPolicySource(request.body.source)
        if (!text.ok) return text
        return commitChange(desk, request, async (tx, now) => {
          const policy = await findPolicy(tx, zoneOf(request), request.params.id)
          if (policy === undefined) return refuse('not_found')
          if (policy.name !== text.value.document.name) return refuse('validation_failed', `the name of the policy is ${policy.name}`)
          return addVersion(tx, policy, text.value, adminOf(request.principal).id, now, 'update')
        })
      },
    }),
    route({
      method: 'GET',
      path: '/v1/zones/:zone/policies/:id/versions/:version',
      who: readers,
      summary: 'One version',
      exposure: 'public',
      rate: 'read',
      params: Type.Object({ zone: Type.String(), id: IdOf('policy'), version: IdOf('policyVersion') }),
      reply: { 200: PolicyVersionBody, 404: Problem('not_found') },
      handle: async (request) => {
        const found = await findPolicyVersion(database.query, zoneOf(request), request.params.version)
        return found?.policy === request.params.id ? answer(200, found) : refuse('not_found')
      },
    }),
  ]
}

async function addVersion(
  tx: Queryable,
  policy: { readonly id: PolicyVersion['policy']; readonly zone: PolicyVersion['zone']; readonly name: string },
  { source, canonical, sha256 }: { readonly source: string; readonly canonical: string; readonly sha256: string },
  createdBy: string,
  now: number,
  action: 'create' | 'update',
) {
  const { zone, id, name } = policy
  const version = { id: newId('policyVersion', now), zone, policy: id, source, canonical, sha256, createdBy }
  const added = await addPolicyVersion(tx, version, now)
  if (!added.ok) return added
  const target = { kind: 'policy', id, name }
  return ok({
    answer: answer(201, added.value.version, { location: `/v1/zones/${zone}/policies/${id}/versions/${added.value.version.id}` }),
    events: added.value.created
      ? [{ zone, type: 'admin.changed' as const, target, details: { action, version: added.value.version.id, sha256 } }]
      : [],
  })
}
