import { type IdKind, isId, isPattern, ok, REVOCATION_KINDS, type RevocationKind, refuse } from '@caracal/core'
import { listRevocations, type Queryable, type RevocationRecord } from '@caracal/postgres'
import { answer, ListOf, Problem, type RouteRow, raw, role, route } from '@caracal/service'
import Type from 'typebox'
import { adminOf } from '../authentication.ts'
import { commitChange } from '../change/commit-change.ts'
import type { ApiDesk } from '../desk.ts'
import type { RevocationHub } from '../revocations/hub.ts'
import { kill } from '../revocations/kill.ts'
import { killMatching } from '../revocations/revoke-matching.ts'
import { ListQuery, listAnswer } from './named-list.ts'
import { DryRunQuery, IdOf, OfZone, readers, zoneOf } from './parameters.ts'

const RecordBody = Type.Object({
  revocation: Type.String(),
  kind: Type.String(),
  id: Type.String(),
  at: Type.Number(),
  reason: Type.String(),
  by: Type.String(),
  lifted: Type.Union([Type.Object({ at: Type.Number(), by: Type.String() }), Type.Null()]),
})

/** Kinds that are in no zone's configuration. */
const NOT_CONFIGURED: ReadonlySet<RevocationKind> = new Set(['mandate', 'subject', 'session', 'delegation'])

const ReasonText = Type.String({ minLength: 1, maxLength: 500, pattern: '^[^\\x00-\\x1f\\x7f]*$' })

/** `/v1/zones/{zone}/revocations`. */
export function revocationRoutes(desk: ApiDesk, hub: RevocationHub): RouteRow[] {
  const { database } = desk
  return [
    route({
      method: 'GET',
      path: '/v1/zones/:zone/revocations',
      who: readers,
      summary: 'Revocations of a zone, newest first, lifted ones included',
      exposure: 'public',
      rate: 'read',
      params: OfZone,
      query: ListQuery,
      reply: { 200: ListOf(RecordBody) },
      handle: (request) =>
        listAnswer(desk.cursors, 'revocations', request, {}, (page) => listRevocations(database.query, zoneOf(request), page), shown),
    }),
    route({
      method: 'POST',
      path: '/v1/zones/:zone/revocations',
      who: role('operator'),
      summary: 'Revoke one id and everything below it, at once and everywhere',
      exposure: 'public',
      rate: 'mutation',
      audit: 'revocation.published',
      idempotent: true,
      params: OfZone,
      query: DryRunQuery,
      body: Type.Object({
        kind: Type.Enum([...REVOCATION_KINDS]),
        id: Type.String({ minLength: 1, maxLength: 64 }),
        reason: ReasonText,
      }),
      reply: {
        200: Type.Object({
          dryRun: Type.Boolean(),
          kind: Type.String(),
          id: Type.String(),
          at: Type.Union([Type.Number(), Type.Null()]),
          affects: Type.Record(Type.String(), Type.Integer()),
        }),
        404: Problem('not_found'),
        422: Problem('validation_failed'),
      },
      handle: (request) => {
        const dryRun = request.query.dryRun === true
        const { kind, id, reason } = request.body
        if (!isId(kind satisfies RevocationKind & IdKind, id)) return refuse('validation_failed', `id must be the id of a ${kind}`)
        const work = async (tx: Queryable, now: number) => {
          const by = adminOf(request.principal).id
          const zone = zoneOf(request)
          const killed = await kill(tx, { zone, kind, target: id, reason, by }, now)
          if (!killed.ok) return killed
          const { at, affects, events, revocations } = killed.value
          // Replicas drop what they cache of it. What no configuration names ends by the revocation alone: a zone that were newer
          // for it would have to be read anew everywhere, and would refuse while Postgres is away.
          const config = NOT_CONFIGURED.has(kind) ? [] : [{ zone, entity: kind, id }]
          return ok({ answer: answer(200, { dryRun, kind, id, at: dryRun ? null : at, affects }), events, revocations, config })
        }
        return commitChange(desk, request, work, { dryRun })
      },
    }),
    route({
      method: 'POST',
      path: '/v1/zones/:zone/revocations/matching',
      who: role('operator'),
      summary: 'Revoke every session, or with a resource every delegation for it, that a filter matches',
      exposure: 'public',
      rate: 'mutation',
      audit: 'revocation.published',
      idempotent: true,
      params: OfZone,
      query: DryRunQuery,
      body: Type.Object({
        filter: Type.Object(
          {
            application: Type.Optional(IdOf('application')),
            resource: Type.Optional(
              Type.String({ minLength: 1, maxLength: 2048, description: 'Identifiers of resources: literal, or a prefix ending in *' }),
            ),
            olderThan: Type.Optional(Type.Integer({ minimum: 1, maximum: 315_360_000, description: 'Seconds since it was made' })),
          },
          { minProperties: 1 },
        ),
        reason: ReasonText,
      }),
      reply: {
        200: Type.Object({ dryRun: Type.Boolean(), affects: Type.Record(Type.String(), Type.Integer()) }),
        404: Problem('not_found'),
        422: Problem('validation_failed'),
      },
      handle: (request) => {
        const dryRun = request.query.dryRun === true
        const { filter, reason } = request.body
        if (Object.keys(filter).length === 0) return refuse('validation_failed', 'the filter names nothing')
        if (filter.resource !== undefined && !isPattern(filter.resource)) {
          return refuse('validation_failed', 'filter.resource must be literal or a prefix ending in *')
        }
        const work = async (tx: Queryable, now: number) => {
          const order = { zone: zoneOf(request), filter, reason, by: adminOf(request.principal).id }
          const killed = await killMatching(tx, order, now)
          if (!killed.ok) return killed
          const { affects, events, revocations } = killed.value
          return ok({ answer: answer(200, { dryRun, affects }), events, revocations })
        }
        return commitChange(desk, request, work, { dryRun })
      },
    }),
    route({
      method: 'GET',
      path: '/v1/zones/:zone/revocations/feed',
      who: readers,
      summary: 'Revocations as server-sent events: snapshot, revocation, and a heartbeat each second while nothing can be missing',
      exposure: 'public',
      rate: 'feed',
      params: OfZone,
      reply: { 200: null, 404: Problem('not_found') },
      handle: (request) =>
        raw('text/event-stream', hub.follow(zoneOf(request), request.signal), {
          headers: { 'cache-control': 'no-store', 'x-accel-buffering': 'no' },
        }),
    }),
  ]
}

function shown({ id, kind, target, at, reason, by, lifted }: RevocationRecord) {
  return { revocation: id, kind, id: target, at, reason, by, lifted }
}
