import { createPublicKey, type JsonWebKeyInput, randomBytes } from 'node:crypto'
import { type ApplicationCredential, newId, ok, type PublicJwk, type Result, refuse, type UnixMillis } from '@caracal/core'
import { addCredential, findApplication, listCredentials, lockInZone, removeCredential } from '@caracal/postgres'
import { answer, Problem, type RouteRow, role, route } from '@caracal/service'
import Type from 'typebox'
import { commitChange } from '../change/commit-change.ts'
import type { ApiDesk } from '../desk.ts'
import { IdOf, InZone, Moment, readers, zoneOf } from './parameters.ts'

/** As many may be valid at once: the one in use and its successor. */
const MOST_VALID = 2

const CredentialBody = Type.Object({
  id: Type.String(),
  kind: Type.String(),
  jwk: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  createdAt: Type.Number(),
  expiresAt: Type.Union([Type.Number(), Type.Null()]),
})

const NewCredential = Type.Union([
  Type.Object({ kind: Type.Literal('secret'), expiresAt: Type.Optional(Moment) }),
  Type.Object({ kind: Type.Literal('jwk'), jwk: Type.Record(Type.String(), Type.Unknown()), expiresAt: Type.Optional(Moment) }),
])

/** `/v1/zones/{zone}/applications/{id}/credentials`: how an application proves who it is. */
export function credentialRoutes(desk: ApiDesk): RouteRow[] {
  const { database } = desk
  return [
    route({
      method: 'GET',
      path: '/v1/zones/:zone/applications/:id/credentials',
      who: readers,
      summary: 'Credentials of an application, without anything that could be used',
      exposure: 'public',
      rate: 'read',
      params: InZone('application'),
      reply: { 200: Type.Object({ items: Type.Array(CredentialBody), next_cursor: Type.Null() }), 404: Problem('not_found') },
      handle: async (request) => {
        const zone = zoneOf(request)
        if ((await findApplication(database.query, zone, request.params.id)) === undefined) return refuse('not_found')
        const items = (await listCredentials(database.query, zone, request.params.id)).map(shown)
        return answer(200, { items, next_cursor: null })
      },
    }),
    route({
      method: 'POST',
      path: '/v1/zones/:zone/applications/:id/credentials',
      who: role('operator'),
      summary: 'Add a client secret, shown this once, or a public key',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      idempotent: true,
      params: InZone('application'),
      body: NewCredential,
      reply: {
        201: Type.Object({
          id: Type.String(),
          client_id: Type.String(),
          client_secret: Type.Union([Type.String(), Type.Null()]),
          expiresAt: Type.Union([Type.Number(), Type.Null()]),
        }),
        404: Problem('not_found'),
        409: Problem('conflict'),
        422: Problem('validation_failed'),
        503: Problem('sts_unavailable', 'keys_unavailable'),
      },
      handle: async (request) => {
        const zone = zoneOf(request)
        const { body, params } = request
        const asked = desk.now()
        const expiresAt = body.expiresAt ?? null
        if (expiresAt !== null && expiresAt <= asked) return refuse('validation_failed', 'expiresAt lies in the past')
        if ((await findApplication(database.query, zone, params.id)) === undefined) return refuse('not_found')
        const common = { id: newId('credential', asked), application: params.id, zone, createdAt: asked, expiresAt }
        let secret: string | null = null
        let credential: ApplicationCredential
        if (body.kind === 'secret') {
          secret = `ccs_${randomBytes(32).toString('base64url')}`
          const digest = await desk.sealing.digestClientSecret(zone, secret)
          if (!digest.ok) return digest
          credential = { ...common, kind: 'secret', digest: digest.value }
        } else {
          const jwk = publicJwk(body.jwk)
          if (!jwk.ok) return jwk
          credential = { ...common, kind: 'jwk', jwk: jwk.value }
        }
        return commitChange(desk, request, async (tx, now) => {
          await lockInZone(tx, zone, `credentials/${params.id}`)
          const application = await findApplication(tx, zone, params.id)
          if (application === undefined) return refuse('not_found')
          const standing = (await listCredentials(tx, zone, params.id)).filter((one) => isValid(one, now))
          if (standing.length >= MOST_VALID) {
            return refuse('conflict', `two credentials are valid already: retire one of ${standing.map(({ id }) => id).join(', ')}`)
          }
          await addCredential(tx, credential)
          const given = { id: credential.id, client_id: params.id, client_secret: secret, expiresAt }
          return ok({
            answer: answer(201, given, { 'cache-control': 'no-store' }),
            // Nothing that can be used is kept, not even for a repetition of the request.
            receipt: { ...given, client_secret: null },
            events: [
              {
                zone,
                type: 'admin.changed',
                target: { kind: 'credential', id: credential.id },
                details: { action: 'create', application: params.id, credential: credential.kind },
              },
            ],
            config: [{ zone, entity: 'application', id: params.id }],
          })
        })
      },
    }),
    route({
      method: 'DELETE',
      path: '/v1/zones/:zone/applications/:id/credentials/:credential',
      who: role('operator'),
      summary: 'Retire a credential at once',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      params: Type.Object({ zone: Type.String(), id: IdOf('application'), credential: IdOf('credential') }),
      reply: { 204: null, 404: Problem('not_found') },
      handle: (request) =>
        commitChange(desk, request, async (tx) => {
          const zone = zoneOf(request)
          const { id, credential } = request.params
          if (!(await removeCredential(tx, zone, id, credential))) return refuse('not_found')
          return ok({
            answer: answer(204, undefined),
            events: [
              {
                zone,
                type: 'admin.changed',
                target: { kind: 'credential', id: credential },
                details: { action: 'delete', application: id },
              },
            ],
            config: [{ zone, entity: 'application', id }],
          })
        }),
    }),
  ]
}

function shown(credential: ApplicationCredential) {
  const { id, kind, createdAt, expiresAt } = credential
  return { id, kind, ...(credential.kind === 'jwk' ? { jwk: credential.jwk } : {}), createdAt, expiresAt }
}

function isValid(credential: ApplicationCredential, now: UnixMillis): boolean {
  return credential.expiresAt === null || credential.expiresAt > now
}

/** A public key that Node's crypto takes, without any private member (RFC 7517 §9.2); RSA of at least 2048 bits. */
function publicJwk(given: Readonly<Record<string, unknown>>): Result<PublicJwk> {
  for (const member of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv']) {
    if (Object.hasOwn(given, member)) return refuse('validation_failed', 'jwk must be a public key: it has private members')
  }
  try {
    const key = createPublicKey({ key: given as JsonWebKeyInput['key'], format: 'jwk' })
    const bits = key.asymmetricKeyDetails?.modulusLength
    if (bits !== undefined && bits < 2048) return refuse('validation_failed', 'an RSA key has at least 2048 bits')
  } catch {
    return refuse('validation_failed', 'jwk is not a public key')
  }
  return ok(given as PublicJwk)
}
