import { createHash, randomBytes } from 'node:crypto'
import { type ApplicationKey, apiKeyText, isCertificateName, newId, ok, refuse } from '@caracal/core'
import { addApplicationKey, findApplication, findApplicationKey, type KeptApplicationKey, listApplicationKeys } from '@caracal/postgres'
import { answer, Problem, type RouteRow, role, route } from '@caracal/service'
import Type from 'typebox'
import { adminOf } from '../authentication.ts'
import { commitChange } from '../change/commit-change.ts'
import type { ApiDesk } from '../desk.ts'
import { kill } from '../revocations/kill.ts'
import { IdOf, InZone, Moment, NameText, readers, zoneOf } from './parameters.ts'

/** Keys of one application that are in force, at most. */
const MOST_KEYS = 100

const KeyBody = Type.Object({
  id: Type.String(),
  kind: Type.String(),
  name: Type.String(),
  certificate: Type.Optional(Type.String()),
  createdAt: Type.Number(),
  expiresAt: Type.Union([Type.Number(), Type.Null()]),
  revokedAt: Type.Union([Type.Number(), Type.Null()]),
})

const NewKey = Type.Union([
  Type.Object({ kind: Type.Literal('api_key'), name: NameText, expiresAt: Type.Optional(Moment) }),
  Type.Object({
    kind: Type.Literal('certificate'),
    name: NameText,
    certificate: Type.String({
      maxLength: 1100,
      description:
        'sha256:<thumbprint>, subject:<CN=…>, dns:<name>, uri:<uri> or email:<address> of a certificate of the configured authority',
    }),
    expiresAt: Type.Optional(Moment),
  }),
])

/** `/v1/zones/{zone}/applications/{id}/keys`: how an application proves itself to a Gateway or adapter that takes no mandates. */
export function applicationKeyRoutes(desk: ApiDesk): RouteRow[] {
  const { database } = desk
  return [
    route({
      method: 'GET',
      path: '/v1/zones/:zone/applications/:id/keys',
      who: readers,
      summary: 'API keys and certificates of an application, without anything that could be used; revoked ones included',
      exposure: 'public',
      rate: 'read',
      params: InZone('application'),
      reply: { 200: Type.Object({ items: Type.Array(KeyBody), next_cursor: Type.Null() }), 404: Problem('not_found') },
      handle: async (request) => {
        const zone = zoneOf(request)
        if ((await findApplication(database.query, zone, request.params.id)) === undefined) return refuse('not_found')
        const items = (await listApplicationKeys(database.query, zone, request.params.id)).map(shown)
        return answer(200, { items, next_cursor: null })
      },
    }),
    route({
      method: 'POST',
      path: '/v1/zones/:zone/applications/:id/keys',
      who: role('operator'),
      summary: 'Make an API key, shown this once, or bind a client certificate',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      idempotent: true,
      params: InZone('application'),
      body: NewKey,
      reply: {
        201: Type.Object({
          id: Type.String(),
          kind: Type.String(),
          name: Type.String(),
          application: Type.String(),
          api_key: Type.Union([Type.String(), Type.Null()]),
          certificate: Type.Optional(Type.String()),
          expiresAt: Type.Union([Type.Number(), Type.Null()]),
        }),
        404: Problem('not_found'),
        409: Problem('conflict'),
        422: Problem('validation_failed'),
      },
      handle: (request) => {
        const { body, params } = request
        return commitChange(desk, request, async (tx, now) => {
          const zone = zoneOf(request)
          const expiresAt = body.expiresAt ?? null
          if (expiresAt !== null && expiresAt <= now) return refuse('validation_failed', 'expiresAt lies in the past')
          if ((await findApplication(tx, zone, params.id)) === undefined) return refuse('not_found')
          const id = newId('credential', now)
          const common = { id, application: params.id, zone, name: body.name, createdAt: now, expiresAt }
          const text = body.kind === 'api_key' ? apiKeyText(id, randomBytes(32).toString('base64url')) : null
          let key: ApplicationKey
          if (body.kind === 'certificate') {
            if (!isCertificateName(body.certificate)) {
              return refuse('validation_failed', 'certificate must be sha256:<64 hex digits>, subject:, dns:, uri: or email:')
            }
            key = { ...common, kind: 'certificate', certificate: body.certificate }
          } else key = { ...common, kind: 'api_key', digest: createHash('sha256').update(String(text)).digest('hex') }
          const inForce = (await listApplicationKeys(tx, zone, params.id)).filter(({ revokedAt }) => revokedAt === null)
          if (inForce.length >= MOST_KEYS) return refuse('conflict', `an application has at most ${MOST_KEYS} keys: revoke one`)
          const added = await addApplicationKey(tx, key)
          if (!added.ok) return added
          const given = {
            id,
            kind: key.kind,
            name: key.name,
            application: params.id,
            api_key: text,
            ...(key.kind === 'certificate' ? { certificate: key.certificate } : {}),
            expiresAt,
          }
          return ok({
            answer: answer(201, given, { 'cache-control': 'no-store' }),
            // Nothing that can be used is kept, not even for a repetition of the request.
            receipt: { ...given, api_key: null },
            events: [
              {
                zone,
                type: 'admin.changed',
                target: { kind: 'credential', id, name: key.name },
                details: { action: 'create', application: params.id, credential: key.kind },
              },
            ],
            config: [{ zone, entity: 'application', id: params.id }],
          })
        })
      },
    }),
    route({
      method: 'DELETE',
      path: '/v1/zones/:zone/applications/:id/keys/:key',
      who: role('operator'),
      summary: 'Revoke an API key or a certificate, at once and everywhere; calls of it that run are cut',
      exposure: 'public',
      rate: 'mutation',
      audit: 'revocation.published',
      params: Type.Object({ zone: Type.String(), id: IdOf('application'), key: IdOf('credential') }),
      reply: { 204: null, 404: Problem('not_found') },
      handle: (request) =>
        commitChange(desk, request, async (tx, now) => {
          const zone = zoneOf(request)
          const { id, key } = request.params
          const found = await findApplicationKey(tx, zone, key)
          if (found?.application !== id) return refuse('not_found')
          const by = adminOf(request.principal).id
          const killed = await kill(tx, { zone, kind: 'credential', target: key, reason: 'the key was revoked', by }, now)
          if (!killed.ok) return killed
          const { events, revocations } = killed.value
          return ok({ answer: answer(204, undefined), events, revocations, config: [{ zone, entity: 'application', id }] })
        }),
    }),
  ]
}

function shown(key: KeptApplicationKey) {
  const { id, kind, name, createdAt, expiresAt, revokedAt } = key
  return { id, kind, name, ...(key.kind === 'certificate' ? { certificate: key.certificate } : {}), createdAt, expiresAt, revokedAt }
}
