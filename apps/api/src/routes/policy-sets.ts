import { createHash } from 'node:crypto'
import { canonicalJson, compilePolicies, newId, ok, refuse } from '@caracal/core'
import {
  activatePolicySetVersion,
  activePolicy,
  addPolicySetVersion,
  createPolicySet,
  findPolicySet,
  findPolicySetByName,
  findPolicySetVersion,
  findPolicyVersions,
  listPolicySets,
  listPolicySetVersions,
} from '@caracal/postgres'
import { answer, etag, ListOf, Problem, type RouteRow, role, route } from '@caracal/service'
import Type from 'typebox'
import { readMembers } from '../apply/holdings.ts'
import { activationEvent } from '../apply/write-plan.ts'
import { adminOf } from '../authentication.ts'
import { commitChange } from '../change/commit-change.ts'
import type { ApiDesk } from '../desk.ts'
import { convergenceOf } from '../policies/convergence.ts'
import { PolicyBody, PolicySetVersionBody } from './entity-schemas.ts'
import { ListQuery, listAnswer, NamedListQuery, namedListAnswer } from './named-list.ts'
import { IdOf, InZone, NameText, OfZone, readers, zoneOf } from './parameters.ts'

const NullableText = Type.Union([Type.String(), Type.Null()])

const ConvergenceBody = Type.Object({
  active: Type.Union([
    Type.Object({ setVersion: Type.String(), generation: Type.Integer(), activatedAt: Type.Number(), activatedBy: Type.String() }),
    Type.Null(),
  ]),
  replicas: Type.Array(
    Type.Object({ replica: Type.String(), role: Type.String(), setVersion: NullableText, error: NullableText, seenAt: Type.Number() }),
  ),
  loaded: Type.Boolean(),
})

/** `/v1/zones/{zone}/policy-sets`. */
export function policySetRoutes(desk: ApiDesk): RouteRow[] {
  const { database } = desk
  return [
    route({
      method: 'GET',
      path: '/v1/zones/:zone/policy-sets',
      who: readers,
      summary: 'Policy sets of a zone',
      exposure: 'public',
      rate: 'read',
      params: OfZone,
      query: NamedListQuery,
      reply: { 200: ListOf(PolicyBody) },
      handle: (request) =>
        namedListAnswer(desk.cursors, 'policy-sets', request, {
          list: (page) => listPolicySets(database.query, zoneOf(request), page),
          byName: (name) => findPolicySetByName(database.query, zoneOf(request), name),
        }),
    }),
    route({
      method: 'POST',
      path: '/v1/zones/:zone/policy-sets',
      who: role('policy_author'),
      summary: 'Make a policy set',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      idempotent: true,
      params: OfZone,
      body: Type.Object({ name: NameText }),
      reply: { 201: PolicyBody, 409: Problem('conflict') },
      handle: (request) =>
        commitChange(desk, request, async (tx, now) => {
          const zone = zoneOf(request)
          const { name } = request.body
          const made = await createPolicySet(tx, { id: newId('policySet', now), zone, name }, now)
          if (!made.ok) return made
          const { id, version } = made.value
          return ok({
            answer: answer(201, made.value, { location: `/v1/zones/${zone}/policy-sets/${id}`, etag: etag(version) }),
            events: [{ zone, type: 'admin.changed', target: { kind: 'policy_set', id, name }, details: { action: 'create' } }],
          })
        }),
    }),
    route({
      method: 'GET',
      path: '/v1/zones/:zone/policy-sets/:id',
      who: readers,
      summary: 'One policy set',
      exposure: 'public',
      rate: 'read',
      params: InZone('policySet'),
      reply: { 200: PolicyBody, 404: Problem('not_found') },
      handle: async (request) => {
        const found = await findPolicySet(database.query, zoneOf(request), request.params.id)
        return found === undefined ? refuse('not_found') : answer(200, found, { etag: etag(found.version) })
      },
    }),
    route({
      method: 'GET',
      path: '/v1/zones/:zone/policy-sets/:id/versions',
      who: readers,
      summary: 'Versions of a policy set, newest first',
      exposure: 'public',
      rate: 'read',
      params: InZone('policySet'),
      query: ListQuery,
      reply: { 200: ListOf(PolicySetVersionBody), 404: Problem('not_found') },
      handle: async (request) => {
        const zone = zoneOf(request)
        const { id } = request.params
        if ((await findPolicySet(database.query, zone, id)) === undefined) return refuse('not_found')
        return listAnswer(desk.cursors, 'policy-set-versions', request, { set: id }, (page) =>
          listPolicySetVersions(database.query, zone, id, page),
        )
      },
    }),
    route({
      method: 'POST',
      path: '/v1/zones/:zone/policy-sets/:id/versions',
      who: role('policy_author'),
      summary: 'Pin policy versions together; what does not compile together is refused',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      idempotent: true,
      params: InZone('policySet'),
      body: Type.Object({ members: Type.Array(IdOf('policyVersion'), { maxItems: 5_000, uniqueItems: true }) }),
      reply: { 201: PolicySetVersionBody, 404: Problem('not_found'), 422: Problem('validation_failed') },
      handle: (request) =>
        commitChange(desk, request, async (tx, now) => {
          const zone = zoneOf(request)
          const set = await findPolicySet(tx, zone, request.params.id)
          if (set === undefined) return refuse('not_found')
          const versions = await findPolicyVersions(tx, zone, request.body.members)
          const unknown = request.body.members.find((id) => !versions.some((one) => one.id === id))
          if (unknown !== undefined) return refuse('validation_failed', `${unknown} is not a policy version of this zone`)
          const members = versions
            .map(({ policy, id, sha256 }) => ({ policy, version: id, sha256 }))
            .sort((a, b) => (a.policy < b.policy ? -1 : 1))
          if (new Set(members.map(({ policy }) => policy)).size < members.length)
            return refuse('validation_failed', 'two versions of one policy cannot be in a set')
          const compiled = compilePolicies((await readMembers(tx, zone, members)).map(({ document }) => document))
          if (!compiled.ok) return refuse('validation_failed', compiled.detail)
          const sha256 = createHash('sha256').update(canonicalJson(members)).digest('hex')
          const createdBy = adminOf(request.principal).id
          const version = { id: newId('policySetVersion', now), zone, policySet: set.id, members, sha256, createdBy }
          const added = await addPolicySetVersion(tx, version, now)
          if (!added.ok) return added
          const target = { kind: 'policy_set', id: set.id, name: set.name }
          const details = { action: 'update', version: added.value.version.id, sha256 }
          return ok({
            answer: answer(201, added.value.version),
            events: added.value.created ? [{ zone, type: 'admin.changed', target, details }] : [],
          })
        }),
    }),
    route({
      method: 'POST',
      path: '/v1/zones/:zone/policy-sets/:id/activate',
      who: role('policy_author'),
      summary: 'Make a set version the active one, if what is active still is what the caller saw',
      exposure: 'public',
      rate: 'mutation',
      audit: 'policy.activated',
      idempotent: true,
      params: InZone('policySet'),
      body: Type.Object({
        version: IdOf('policySetVersion'),
        expected: Type.Union([IdOf('policySetVersion'), Type.Null()], {
          description: 'The set version active now; null when there is none',
        }),
      }),
      reply: { 200: ConvergenceBody, 404: Problem('not_found'), 412: Problem('version_moved'), 422: Problem('validation_failed') },
      handle: (request) =>
        commitChange(desk, request, async (tx, now) => {
          const zone = zoneOf(request)
          const { version, expected } = request.body
          const set = await findPolicySetVersion(tx, zone, version)
          if (set === undefined || set.policySet !== request.params.id) return refuse('not_found')
          const head = await activePolicy(tx, zone)
          if ((head?.setVersion ?? null) !== expected) return refuse('version_moved')
          const compiled = compilePolicies((await readMembers(tx, zone, set.members)).map(({ document }) => document))
          if (!compiled.ok) return refuse('validation_failed', compiled.detail)
          const by = adminOf(request.principal).id
          const activated = await activatePolicySetVersion(tx, { zone, setVersion: version, expected: head?.generation ?? 0, by }, now)
          if (!activated.ok) return activated
          return ok({
            answer: answer(200, await convergenceOf(tx, zone, now)),
            events: [activationEvent(zone, set, activated.value.generation)],
            activated: [{ zone, setVersion: version, sha256: set.sha256 }],
          })
        }),
    }),
    route({
      method: 'GET',
      path: '/v1/zones/:zone/policy-sets/:id/activation',
      who: readers,
      summary: 'What is active, and what each replica serves',
      exposure: 'public',
      rate: 'read',
      params: InZone('policySet'),
      reply: { 200: ConvergenceBody, 404: Problem('not_found') },
      handle: async (request) => {
        const zone = zoneOf(request)
        if ((await findPolicySet(database.query, zone, request.params.id)) === undefined) return refuse('not_found')
        return answer(200, await convergenceOf(database.query, zone, desk.now()))
      },
    }),
  ]
}
