import { type Application, newId, type Resource, type Zone } from '@caracal/core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openWorld, type World } from '../test-support/world.ts'

const POLICY = 'kind: Policy\nname: all\nrules:\n  - { id: all, allow: ["*"], on: ["*"], for: { any: true } }\n'

let world: World
let zone: Zone
let agent: Application & { readonly secret: string }
let peer: Application & { readonly secret: string }
let stranger: Application & { readonly secret: string }
let resource: Resource

beforeAll(async () => {
  world = await openWorld()
  zone = await world.zone()
  agent = await world.application(zone.id)
  peer = await world.application(zone.id)
  stranger = await world.application((await world.zone()).id)
  resource = await world.resource(zone.id)
  await world.policy(zone.id, POLICY)
})
afterAll(() => world?.close())

const mint = async (change: Record<string, string> = {}) =>
  String((await world.ask(agent, { resource: resource.identifier, ...change })).access_token)
const about = (path: string, token: string, by = agent) =>
  world.post(path, { token, client_id: by.id, client_secret: by.secret, token_type_hint: 'access_token' })

it('introspection tells a client about its own mandate', async () => {
  const response = await about('/oauth/2/introspect', await mint({ scope: 'read' }))
  expect(response.headers.get('cache-control')).toBe('no-store')
  expect(await response.json()).toMatchObject({
    active: true,
    token_type: 'Bearer',
    client_id: agent.id,
    sub: agent.id,
    aud: resource.identifier,
    scope: 'read',
    iss: `${world.config.ISSUER_URL}/zones/${zone.id}`,
    exp: expect.any(Number),
    iat: expect.any(Number),
    jti: expect.stringMatching(/^mnd_/),
  })
})

it('[P-006] introspection says the same of unknown, altered, expired, revoked and foreign', async () => {
  const revoked = await mint()
  expect((await about('/oauth/2/revoke', revoked)).status).toBe(200)
  const expired = await mint({ ttl: '1' })
  await new Promise((resolve) => setTimeout(resolve, 1_100))
  const foreign = await mint()
  const doomed = await world.resource(zone.id)
  const orphan = await mint({ resource: doomed.identifier })
  expect(await (await about('/oauth/2/introspect', orphan)).json()).toMatchObject({ active: true })
  await world.revoke(zone.id, 'resource', doomed.id)
  await expect.poll(async () => (await (await about('/oauth/2/introspect', orphan)).json()) as object).toEqual({ active: false })
  const answers = [
    await about('/oauth/2/introspect', orphan),
    await about('/oauth/2/introspect', 'x'),
    await about('/oauth/2/introspect', newId('mandate')),
    await about('/oauth/2/introspect', `${(await mint()).slice(0, -6)}AAAAAA`),
    await about('/oauth/2/introspect', expired),
    await about('/oauth/2/introspect', revoked),
    await about('/oauth/2/introspect', foreign, peer),
    await about('/oauth/2/introspect', foreign, stranger),
  ]
  expect(await Promise.all(answers.map(async (response) => [response.status, await response.text()]))).toEqual(
    answers.map(() => [200, '{"active":false}']),
  )
})

it('revocation counts at once, is a row and a message, and falls on what was exchanged from it', async () => {
  const parent = await world.ask(agent, { resource: resource.identifier })
  const child = await world.ask(peer, {
    resource: resource.identifier,
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: parent.access_token,
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
  })
  expect(await (await about('/oauth/2/introspect', String(child.access_token), peer)).json()).toMatchObject({ active: true })
  const answers = [await about('/oauth/2/revoke', String(parent.access_token)), await about('/oauth/2/revoke', String(parent.access_token))]
  expect(answers.map((response) => response.status)).toEqual([200, 200])
  expect(await (await about('/oauth/2/introspect', String(child.access_token), peer)).json()).toEqual({ active: false })
  const rows = await world.fixtures.query.selectFrom('revocations').selectAll().where('target', '=', String(parent.mandate_id)).execute()
  expect(rows).toMatchObject([{ kind: 'mandate', revoked_by: agent.id, zone: zone.id }])
  const sent = await world.fixtures.query.selectFrom('outbox').selectAll().where('aggregate', '=', String(parent.mandate_id)).execute()
  expect(sent.map((row) => [row.stream, JSON.parse(row.payload)])).toMatchObject([
    ['caracal.revocations', { v: 1, op: 'revoke', kind: 'mandate', id: parent.mandate_id, zone: zone.id }],
  ])
})

it('revocation answers 200 for what is unknown or another client’s, and leaves the latter in force', async () => {
  const mine = await mint()
  expect((await about('/oauth/2/revoke', 'x')).status).toBe(200)
  expect((await about('/oauth/2/revoke', mine, peer)).status).toBe(200)
  expect((await about('/oauth/2/revoke', mine, stranger)).status).toBe(200)
  expect(await (await about('/oauth/2/introspect', mine)).json()).toMatchObject({ active: true })
})

it.each(['/oauth/2/introspect', '/oauth/2/revoke'])('%s authenticates its caller and wants one token', async (path) => {
  const wrong = await world.post(path, { token: 'x', client_id: agent.id, client_secret: 'ccs_wrong' })
  expect([wrong.status, wrong.headers.get('www-authenticate') !== null]).toEqual([401, true])
  const none = await world.post(path, { client_id: agent.id, client_secret: agent.secret })
  expect(await none.json()).toMatchObject({ code: 'missing_parameter', error: 'invalid_request' })
  const two = await world.post(path, `token=a&token=b&client_id=${agent.id}&client_secret=${agent.secret}`)
  expect(await two.json()).toMatchObject({ code: 'duplicate_parameter' })
})
