import { createHash, randomBytes } from 'node:crypto'
import { type AdminToken, newId, ok, ROLES, refuse, type ZoneId } from '@caracal/core'
import {
  createAdminToken,
  findAdminToken,
  findZone,
  inZone,
  listAdminTokens,
  listZones,
  type Queryable,
  revokeAdminToken,
} from '@caracal/postgres'
import { answer, holdsRole, ListOf, Problem, type RouteRow, roleInAnyZone, route } from '@caracal/service'
import Type from 'typebox'
import { adminOf } from '../authentication.ts'
import { type ChangeEvent, commitChange } from '../change/commit-change.ts'
import type { ApiDesk } from '../desk.ts'
import { ListQuery, listAnswer } from './named-list.ts'
import { IdOf, Moment, NameText } from './parameters.ts'

const DAY = 86_400_000
const DEFAULT_LIFE = 90 * DAY
const LONGEST_LIFE = 365 * DAY

const token = {
  id: Type.String(),
  name: Type.String(),
  roles: Type.Array(Type.String()),
  zone: Type.Union([Type.String(), Type.Null()]),
  createdAt: Type.Number(),
  expiresAt: Type.Number(),
}

/** `/v1/tokens` and `/v1/whoami`. */
export function tokenRoutes(desk: ApiDesk): RouteRow[] {
  const { database } = desk
  return [
    route({
      method: 'GET',
      path: '/v1/whoami',
      who: roleInAnyZone(...ROLES),
      summary: 'Who the presented token is',
      exposure: 'public',
      rate: 'read',
      reply: {
        200: Type.Object({
          id: Type.String(),
          name: Type.String(),
          roles: Type.Array(Type.String()),
          zone: Type.Union([Type.String(), Type.Null()]),
        }),
      },
      handle: ({ principal }) => {
        const { id, name, roles, zone } = adminOf(principal)
        return answer(200, { id, name, roles, zone })
      },
    }),
    route({
      method: 'GET',
      path: '/v1/tokens',
      who: roleInAnyZone('admin', 'auditor'),
      summary: 'Admin tokens that are not revoked: all, or those of the token’s own zone',
      exposure: 'public',
      rate: 'read',
      query: ListQuery,
      reply: { 200: ListOf(Type.Object(token)) },
      handle: (request) => {
        const own = adminOf(request.principal).zone
        return listAnswer(desk.cursors, 'tokens', request, { zone: own }, (page) => listAdminTokens(database.query, page, own ?? undefined))
      },
    }),
    route({
      method: 'POST',
      path: '/v1/tokens',
      who: roleInAnyZone('admin'),
      summary: 'Make an admin token, shown this once; it holds nothing that the maker does not hold',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      idempotent: true,
      body: Type.Object({
        name: NameText,
        roles: Type.Array(Type.Enum([...ROLES]), { minItems: 1, uniqueItems: true }),
        zone: Type.Optional(Type.Union([IdOf('zone'), Type.Null()])),
        expiresAt: Type.Optional(Moment),
      }),
      reply: {
        201: Type.Object({ ...token, token: Type.Union([Type.String(), Type.Null()]) }),
        403: Problem('forbidden'),
        404: Problem('not_found'),
        409: Problem('conflict'),
        422: Problem('validation_failed'),
      },
      handle: (request) => {
        const maker = adminOf(request.principal)
        const { name, roles } = request.body
        const zone = request.body.zone === undefined ? maker.zone : request.body.zone
        const secret = `cat_${randomBytes(32).toString('base64url')}`
        return commitChange(desk, request, async (tx, now) => {
          const lacking = roles.find((role) => !holdsRole(maker.roles, [role]))
          if (lacking !== undefined) return refuse('forbidden', `the token does not hold ${lacking} itself`)
          if (maker.zone !== null && zone !== maker.zone)
            return zone === null ? refuse('forbidden', 'the token is for one zone') : refuse('not_found')
          if (zone !== null && (await findZone(tx, zone)) === undefined) return refuse('not_found')
          const expiresAt = request.body.expiresAt ?? now + DEFAULT_LIFE
          if (expiresAt <= now || expiresAt > now + LONGEST_LIFE)
            return refuse('validation_failed', 'expiresAt lies within the next 365 days')
          const digest = createHash('sha256').update(secret).digest('hex')
          const wanted = { id: newId('token', now), name, roles, zone, expiresAt, digest, createdBy: maker.id }
          const made = await inZoneOf(wanted, () => createAdminToken(tx, wanted, now))
          if (!made.ok) return made
          return ok({
            answer: answer(201, { ...made.value, token: secret }, { 'cache-control': 'no-store' }),
            receipt: { ...made.value, token: null },
            events: await tokenEvents(tx, made.value, 'create'),
          })
        })
      },
    }),
    route({
      method: 'DELETE',
      path: '/v1/tokens/:id',
      who: roleInAnyZone('admin'),
      summary: 'Revoke an admin token; it stops within five seconds everywhere',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      params: Type.Object({ id: IdOf('token') }),
      reply: { 204: null, 404: Problem('not_found') },
      handle: (request) =>
        commitChange(desk, request, async (tx, now) => {
          const maker = adminOf(request.principal)
          const found = await findAdminToken(tx, request.params.id)
          if (found === undefined || (maker.zone !== null && found.zone !== maker.zone)) return refuse('not_found')
          if (!(await inZoneOf(found, () => revokeAdminToken(tx, found.id, now)))) return refuse('not_found')
          return ok({ answer: answer(204, undefined), events: await tokenEvents(tx, found, 'delete') })
        }),
    }),
  ]
}

/** A token of no zone is made and revoked in none. */
function inZoneOf<T>({ zone }: Pick<AdminToken, 'zone'>, work: () => T): T {
  return zone === null ? work() : inZone(zone, work)
}

/** A token of one zone stands in that zone's ledger; a global one has power over every zone and stands in each. */
async function tokenEvents(tx: Queryable, { id, name, zone, roles }: AdminToken, action: string): Promise<ChangeEvent[]> {
  const event = (of: ZoneId): ChangeEvent => ({
    zone: of,
    type: 'admin.changed',
    target: { kind: 'token', id, name },
    details: { action, roles, global: zone === null },
  })
  if (zone !== null) return [event(zone)]
  const events: ChangeEvent[] = []
  let after: string | undefined
  do {
    const page = await listZones(tx, { limit: 500, after })
    events.push(...page.items.map((one) => event(one.id)))
    after = page.next ?? undefined
  } while (after !== undefined)
  return events
}
