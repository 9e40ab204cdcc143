import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { request } from 'node:http'
import { type Application, newId, REASONS, type Reason, type Resource, type Session, type Zone } from '@caracal/core'
import { SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openWorld, type World } from './test-support/world.ts'

const POLICY = (resource: string) => `
kind: Policy
name: table
rules:
  - { id: read, allow: [read], on: ["*"], for: { any: true } }
  - { id: frozen, deny: [frozen], on: ["*"], for: { any: true } }
  - { id: held, hold: [held], on: ["${resource}"], for: { any: true }, approval: { tier: ops, approvers: ["role:approver"], ttl: 15m, distinctFromRequester: true } }
  - { id: bound, allow: [bound], on: ["${resource}"], for: { any: true }, limits: { senderConstrained: true } }
`

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
const ASSERTION = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

type Fields = Record<string, string | undefined>

let world: World
let zone: Zone
let other: Zone
let agent: Application & { readonly secret: string }
let peer: Application & { readonly secret: string }
let stranger: Application & { readonly secret: string }
let resource: Resource
let foreign: Resource
let session: Session
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })

beforeAll(async () => {
  world = await openWorld()
  zone = await world.zone()
  other = await world.zone()
  agent = await world.application(zone.id)
  peer = await world.application(zone.id)
  stranger = await world.application(other.id)
  resource = await world.resource(zone.id, { scopes: ['read', 'write', 'frozen', 'held', 'bound'] })
  foreign = await world.resource(other.id)
  await world.policy(zone.id, POLICY(resource.identifier))
  await world.jwk(agent, { ...pair.publicKey.export({ format: 'jwk' }), kty: 'EC', kid: 'k1', alg: 'ES256' })
  session = await world.session(agent)
})
afterAll(() => world?.close())

/** A good request with some fields changed; undefined takes one away. */
function form(change: Fields = {}): Record<string, string> {
  const fields: Fields = {
    grant_type: 'client_credentials',
    client_id: agent.id,
    client_secret: agent.secret,
    resource: resource.identifier,
    scope: 'read',
    ...change,
  }
  return Object.fromEntries(Object.entries(fields).filter((one): one is [string, string] => one[1] !== undefined))
}

const token = async (change: Fields = {}): Promise<string> => {
  const response = await world.post('/oauth/2/token', form(change))
  const body = (await response.json()) as { access_token?: string }
  if (body.access_token === undefined) throw new Error(JSON.stringify(body))
  return body.access_token
}

async function refused(response: Response, reason: Reason, detail?: string): Promise<void> {
  const body = (await response.json()) as Record<string, unknown>
  const entry = REASONS[reason]
  expect([response.status, body.code, body.error], JSON.stringify(body)).toEqual([entry.status, reason, entry.oauth])
  expect(body.request_id).toBe(response.headers.get('x-request-id'))
  if (detail !== undefined) expect(body.error_description).toContain(detail)
  expect(response.headers.get('cache-control')).toBe('no-store')
  expect(response.headers.get('content-type')).toMatch(/^application\/json/)
  expect(response.headers.get('x-caracal-source')).toBe('sts')
  expect(response.headers.get('www-authenticate') !== null).toBe(entry.status === 401)
  if (entry.status === 429 || entry.status === 503) expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0)
}

describe('[P-004] [P-005] every refusal of the form', () => {
  const cases: [string, Reason, string, () => Fields][] = [
    ['no grant', 'missing_parameter', 'grant_type', () => ({ grant_type: undefined })],
    ['an empty grant', 'missing_parameter', 'grant_type', () => ({ grant_type: '' })],
    ['another grant', 'unsupported_grant_type', '', () => ({ grant_type: 'password' })],
    ['the implicit grant', 'unsupported_grant_type', '', () => ({ grant_type: 'implicit' })],
    ['no resource', 'missing_parameter', 'resource', () => ({ resource: undefined })],
    ['a relative resource', 'invalid_target', 'absolute', () => ({ resource: '/api' })],
    ['a resource with a fragment', 'invalid_target', 'fragment', () => ({ resource: `${resource.identifier}#x` })],
    ['an unknown resource', 'invalid_target', '', () => ({ resource: 'https://nobody.example/' })],
    ['a resource of another zone', 'invalid_target', '', () => ({ resource: foreign.identifier })],
    ['a resource in another case', 'invalid_target', '', () => ({ resource: resource.identifier.toUpperCase() })],
    ['the id instead of the identifier', 'invalid_target', '', () => ({ resource: resource.id })],
    ['a malformed scope', 'invalid_scope', '', () => ({ scope: 'read "x"' })],
    ['a pattern as scope', 'invalid_scope', '', () => ({ scope: '*' })],
    ['a scope that names nothing', 'invalid_scope', 'nothing', () => ({ scope: ' ' })],
    ['an undeclared scope', 'invalid_scope', 'delete', () => ({ scope: 'read delete' })],
    ['ttl 0', 'invalid_request', 'ttl', () => ({ ttl: '0' })],
    ['a negative ttl', 'invalid_request', 'ttl', () => ({ ttl: '-1' })],
    ['a fractional ttl', 'invalid_request', 'ttl', () => ({ ttl: '1.5' })],
    ['once as a word', 'invalid_request', 'once', () => ({ once: 'yes' })],
    ['a session that is no id', 'session_not_usable', '', () => ({ session: 'mine' })],
    ['a delegation that is no id', 'delegation_not_usable', '', () => ({ session: session.id, delegation: 'x' })],
    ['a delegation without a session', 'missing_parameter', 'session', () => ({ delegation: newId('delegation') })],
    ['an approval that is no id', 'invalid_request', 'approval', () => ({ approval: 'yes' })],
    ['an approval for what is not held', 'invalid_request', 'approval', () => ({ approval: newId('approval') })],
    ['two authentication methods', 'invalid_request', 'more than one', () => ({ client_assertion: 'x', client_assertion_type: ASSERTION })],
    [
      'an assertion without type',
      'missing_parameter',
      'client_assertion_type',
      () => ({ client_secret: undefined, client_assertion: 'x' }),
    ],
    [
      'a type without assertion',
      'missing_parameter',
      'client_assertion',
      () => ({ client_secret: undefined, client_assertion_type: ASSERTION }),
    ],
    [
      'another assertion type',
      'invalid_request',
      'client_assertion_type',
      () => ({ client_secret: undefined, client_assertion: 'x', client_assertion_type: 'saml' }),
    ],
    ['a secret without client_id', 'missing_parameter', 'client_id', () => ({ client_id: undefined })],
    ['a subject token in client_credentials', 'unknown_parameter', 'subject_token', () => ({ subject_token: 'x' })],
    ['an actor token in client_credentials', 'unknown_parameter', 'actor_token', () => ({ actor_token: 'x' })],
    ['an exchange without subject token', 'missing_parameter', 'subject_token', () => ({ grant_type: EXCHANGE })],
    [
      'an exchange without subject token type',
      'missing_parameter',
      'subject_token_type',
      () => ({ grant_type: EXCHANGE, subject_token: 'x' }),
    ],
    [
      'an ID token as subject',
      'unsupported_token_type',
      '',
      () => ({ grant_type: EXCHANGE, subject_token: 'x', subject_token_type: 'urn:ietf:params:oauth:token-type:id_token' }),
    ],
    [
      'a refresh token wanted',
      'unsupported_token_type',
      '',
      () => ({
        grant_type: EXCHANGE,
        subject_token: 'x',
        subject_token_type: ACCESS_TOKEN,
        requested_token_type: 'urn:ietf:params:oauth:token-type:refresh_token',
      }),
    ],
    [
      'an actor token without its type',
      'missing_parameter',
      'actor_token_type',
      () => ({ grant_type: EXCHANGE, subject_token: 'x', subject_token_type: ACCESS_TOKEN, actor_token: 'y' }),
    ],
    [
      'an actor token type without its token',
      'invalid_request',
      'actor_token',
      () => ({ grant_type: EXCHANGE, subject_token: 'x', subject_token_type: ACCESS_TOKEN, actor_token_type: ACCESS_TOKEN }),
    ],
  ]
  it.each(cases)('%s', async (_name, reason, detail, change) => {
    await refused(await world.post('/oauth/2/token', form(change())), reason, detail)
  })

  it.each(
    'audience authorization_details assertion code code_verifier device_code dpop_jkt password redirect_uri refresh_token request request_uri requested_actor requested_subject username'.split(
      ' ',
    ),
  )('%s is refused by name', async (name) => {
    await refused(await world.post('/oauth/2/token', form({ [name]: 'x' })), 'unknown_parameter', `${name} is not supported`)
  })

  it.each(
    'grant_type client_id client_secret scope session delegation approval ttl once client_assertion subject_token audience'.split(' '),
  )('%s twice is refused by name, even with equal values', async (name) => {
    const once = new URLSearchParams(form()).toString()
    const value = form()[name] ?? 'x'
    const twice = `${once}&${new URLSearchParams({ [name]: value })}${form()[name] === undefined ? `&${name}=x` : ''}`
    await refused(await world.post('/oauth/2/token', twice), 'duplicate_parameter', name)
  })

  it('[P-003] two resources are refused as a whole, two equal ones are one', async () => {
    const two = `${new URLSearchParams(form())}&resource=${encodeURIComponent('https://else.example/')}`
    await refused(await world.post('/oauth/2/token', two), 'invalid_target', 'names one resource')
    const same = `${new URLSearchParams(form())}&resource=${encodeURIComponent(resource.identifier)}`
    expect((await world.post('/oauth/2/token', same)).status).toBe(200)
  })

  it('names that no standard defines are ignored (RFC 6749 §3.2)', async () => {
    expect((await world.post('/oauth/2/token', form({ vendor_hint: 'x' }))).status).toBe(200)
  })

  it('query strings, other media types, bad escapes and large bodies', async () => {
    await refused(await world.post('/oauth/2/token?grant_type=client_credentials', form()), 'unknown_parameter')
    await refused(await world.post('/oauth/2/token', '{}', { 'content-type': 'application/json' }), 'unsupported_media_type')
    await refused(await world.post('/oauth/2/token', form(), { 'content-encoding': 'gzip' }), 'unsupported_media_type')
    await refused(await world.post('/oauth/2/token', 'grant_type=%zz'), 'invalid_request')
    await refused(await world.post('/oauth/2/token', `x=${'y'.repeat(70_000)}`), 'body_too_large')
  })
})

describe('client authentication', () => {
  const assertion = (claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}, key = pair.privateKey) => {
    const now = Math.floor(Date.now() / 1000)
    const all = { iss: agent.id, sub: agent.id, aud: issuer(), exp: now + 60, iat: now, jti: randomBytes(8).toString('hex'), ...claims }
    return new SignJWT(Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)))
      .setProtectedHeader({ alg: 'ES256', kid: 'k1', ...header })
      .sign(key)
  }
  const issuer = () => `${world.config.ISSUER_URL}/zones/${zone.id}`
  const withAssertion = (text: string, change: Fields = {}) =>
    world.post('/oauth/2/token', form({ client_secret: undefined, client_assertion: text, client_assertion_type: ASSERTION, ...change }))
  const basic = (id: string, secret: string) => ({ authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}` })

  it('takes client_secret_basic, client_secret_post and private_key_jwt', async () => {
    const bare = form({ client_id: undefined, client_secret: undefined })
    expect((await world.post('/oauth/2/token', bare, basic(agent.id, agent.secret))).status).toBe(200)
    expect((await world.post('/oauth/2/token', form())).status).toBe(200)
    expect((await withAssertion(await assertion())).status).toBe(200)
    expect((await withAssertion(await assertion(), { client_id: undefined })).status).toBe(200)
  })

  it('refuses two Authorization headers, wherever the good one stands', async () => {
    const { authorization: good } = basic(agent.id, agent.secret)
    const body = new URLSearchParams(form({ client_id: undefined, client_secret: undefined })).toString()
    for (const both of [
      [good, 'Basic eDp5'],
      ['Basic eDp5', good],
      [good, good],
    ]) {
      const headers = ['Host', 'sts', 'Content-Type', 'application/x-www-form-urlencoded', ...both.flatMap((one) => ['Authorization', one])]
      const status = await new Promise((resolve, reject) => {
        const asked = request(`${world.sts.address.url}/oauth/2/token`, { method: 'POST', headers }, (answer) => {
          answer.resume()
          resolve(answer.statusCode)
        })
        asked.once('error', reject).end(body)
      })
      expect(status).toBe(400)
    }
  })

  it('[P-009] takes both secrets of a rotation', async () => {
    const second = await world.credential(agent)
    expect((await world.post('/oauth/2/token', form({ client_secret: second }))).status).toBe(200)
    expect((await world.post('/oauth/2/token', form())).status).toBe(200)
  })

  it('[P-006] answers every wrong client with the same bytes', async () => {
    const expired = await world.credential(agent, Date.now() - 1000)
    const secret = `ccs_${randomBytes(32).toString('base64url')}`
    const wrong: [Record<string, string>, Record<string, string>][] = [
      [form({ client_secret: secret }), {}],
      [form({ client_secret: expired }), {}],
      [form({ client_secret: stranger.secret }), {}],
      [form({ client_id: newId('application') }), {}],
      [form({ client_id: 'nobody' }), {}],
      [form({ client_id: stranger.id }), {}],
      [form({ client_id: agent.id.toUpperCase() }), {}],
      [form({ client_id: undefined, client_secret: undefined }), basic(agent.id, secret)],
      [form({ client_id: undefined, client_secret: undefined }), { authorization: 'Basic !!!' }],
      [form({ client_id: undefined, client_secret: undefined }), { authorization: 'Bearer x' }],
      [form({ client_secret: undefined }), {}],
      [form({ client_secret: undefined, client_assertion: 'x.y.z', client_assertion_type: ASSERTION }), {}],
    ]
    const answers = new Set<string>()
    for (const [fields, headers] of wrong) {
      const response = await world.post('/oauth/2/token', fields, headers)
      const body = (await response.json()) as Record<string, unknown>
      answers.add(JSON.stringify([response.status, { ...body, request_id: '' }, response.headers.get('www-authenticate')]))
    }
    expect([...answers]).toEqual([
      JSON.stringify([
        401,
        {
          error: 'invalid_client',
          error_description: REASONS.invalid_client.title,
          code: 'invalid_client',
          request_id: '',
          fix: REASONS.invalid_client.fix,
        },
        'Basic realm="caracal", charset="UTF-8"',
      ]),
    ])
  })

  const now = () => Math.floor(Date.now() / 1000)
  const foreignKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  it.each<[string, () => Promise<string>]>([
    ['another issuer', () => assertion({ iss: 'x' })],
    ['another subject', () => assertion({ sub: newId('application') })],
    ['no audience', () => assertion({ aud: undefined })],
    ['the token endpoint as audience', () => assertion({ aud: `${world.config.ISSUER_URL}/oauth/2/token` })],
    ['a list as audience', () => assertion({ aud: [issuer()] })],
    ['no expiry', () => assertion({ exp: undefined })],
    ['an expiry long ago', () => assertion({ exp: now() - 120 })],
    ['an expiry more than five minutes ahead', () => assertion({ exp: now() + 600 })],
    ['an iat ahead', () => assertion({ iat: now() + 300 })],
    ['no jti', () => assertion({ jti: undefined })],
    ['an empty jti', () => assertion({ jti: '' })],
    ['another key', () => assertion({}, {}, foreignKey)],
    ['an unknown kid', () => assertion({}, { kid: 'k2' })],
    ['no signature', async () => `${(await assertion()).split('.').slice(0, 2).join('.')}.`],
    ['alg none', async () => `${Buffer.from('{"alg":"none"}').toString('base64url')}.${(await assertion()).split('.')[1]}.`],
  ])('[P-008] refuses an assertion with %s', async (_name, make) => {
    await refused(await withAssertion(await make()), 'invalid_client')
  })

  it('[P-017] takes an assertion once', async () => {
    const text = await assertion()
    expect((await withAssertion(text)).status).toBe(200)
    await refused(await withAssertion(text), 'assertion_replayed')
  })

  it('[P-010] slows whoever keeps failing, while the right secret passes at once', async () => {
    const reasons = new Set<number>()
    for (let i = 0; i < 60; i += 1) {
      const response = await world.post('/oauth/2/token', form({ client_id: peer.id, client_secret: `ccs_${i}${'x'.repeat(40)}` }))
      reasons.add(response.status)
      if (response.status === 429) await refused(response, 'rate_limited')
    }
    expect([...reasons]).toEqual([401, 429])
    expect((await world.post('/oauth/2/token', form({ client_id: peer.id, client_secret: peer.secret }))).status).toBe(200)
    expect((await world.post('/oauth/2/token', form())).status).toBe(200)
  })
})

describe('token exchange', () => {
  const exchange = (subject: string, change: Fields = {}) =>
    world.post('/oauth/2/token', form({ grant_type: EXCHANGE, subject_token: subject, subject_token_type: ACCESS_TOKEN, ...change }))

  it.each<[string, () => Promise<string>]>([
    ['nonsense', async () => 'x.y.z'],
    ['a token that was altered', async () => `${(await token()).slice(0, -4)}AAAA`],
    ['a single-use mandate', () => token({ once: 'true' })],
    ['a mandate of another zone', async () => strangersToken()],
  ])('[P-018] refuses %s as subject token', async (_name, make) => {
    await refused(await exchange(await make()), 'invalid_subject_token')
  })

  it('[P-018] refuses an actor token that is not the caller’s', async () => {
    const change = { actor_token: await token({ client_id: peer.id, client_secret: peer.secret }), actor_token_type: ACCESS_TOKEN }
    await refused(await exchange(await token(), change), 'invalid_actor_token')
    await refused(await exchange(await token(), { ...change, actor_token: 'x' }), 'invalid_actor_token')
  })

  it('[P-002] refuses another audience and a wider scope', async () => {
    const second = await world.resource(zone.id, { scopes: ['read', 'more'] })
    await refused(await exchange(await token(), { resource: second.identifier }), 'invalid_target')
    await refused(await exchange(await token(), { scope: 'read write' }), 'scope_exceeds_parent', 'write')
  })

  it('refuses a lineage of more than ten mandates', async () => {
    let subject = await token()
    for (let depth = 0; depth < 10; depth += 1) {
      const body = (await (await exchange(subject)).json()) as { access_token: string }
      subject = body.access_token
    }
    await refused(await exchange(subject), 'lineage_too_deep')
  })

  async function strangersToken(): Promise<string> {
    await world.policy(other.id, POLICY(foreign.identifier))
    return token({ client_id: stranger.id, client_secret: stranger.secret, resource: foreign.identifier })
  }
})

describe('lineage', () => {
  it('refuses a session that is unknown, of another application, ended, expired or suspended', async () => {
    const ask = (id: string, change: Fields = {}) => world.post('/oauth/2/token', form({ session: id, ...change }))
    await refused(await ask(newId('session')), 'session_not_usable')
    await refused(await ask((await world.session(peer)).id), 'session_not_usable')
    await refused(await ask((await world.session(stranger)).id), 'session_not_usable')
    await refused(await ask((await world.session(agent, { expiresAt: Date.now() - 1 })).id), 'lineage_expired')
    const lease = { generation: 1, expiresAt: Date.now() - 1 }
    await refused(await ask((await world.session(agent, { kind: 'service', lease })).id), 'lineage_expired')
    const expired = await world.session(agent, { expiresAt: Date.now() - 1 })
    await refused(await ask((await world.session(agent, { above: expired })).id), 'lineage_expired')
  })

  it('refuses a delegation that is unknown, not to the caller, not of the session, expired or wider than it was given', async () => {
    const from = await world.session(peer)
    const grants = [{ resource: resource.id, scopes: ['read'] }]
    const ask = (delegation: string, change: Fields = {}) =>
      world.post('/oauth/2/token', form({ session: session.id, delegation, ...change }))
    await refused(await ask(newId('delegation')), 'delegation_not_usable')
    await refused(await ask((await world.delegation(from, await world.session(peer), grants)).id), 'delegation_not_usable')
    await refused(await ask((await world.delegation(from, await world.session(agent), grants)).id), 'delegation_not_usable')
    await refused(await ask((await world.delegation(from, session, grants, { expiresAt: Date.now() - 1 })).id), 'lineage_expired')
    await refused(await ask((await world.delegation(from, session, grants, { state: 'revoked' })).id), 'delegation_not_usable')
    await refused(await ask((await world.delegation(from, session, grants)).id, { scope: 'read write' }), 'scope_exceeds_parent', 'write')
    const dead = await world.session(peer, { expiresAt: Date.now() - 1 })
    await refused(await ask((await world.delegation(dead, session, grants)).id), 'lineage_expired')
    await refused(await ask((await world.delegation(from, session, [])).id), 'scope_exceeds_parent', 'read')
  })
})

describe('the decision', () => {
  it.each<[string, Reason]>([
    ['write', 'no_rule_allows'],
    ['read write', 'no_rule_allows'],
    ['frozen', 'denied_by_rule'],
    ['held', 'approval_required'],
    ['bound', 'sender_constraint_required'],
  ])('of %s is %s', async (scope, reason) => {
    await refused(await world.post('/oauth/2/token', form({ scope })), reason)
  })

  it('[P-025] without an active policy is no_active_policy', async () => {
    const empty = await world.zone()
    const client = await world.application(empty.id)
    const target = await world.resource(empty.id)
    const change = { client_id: client.id, client_secret: client.secret, resource: target.identifier }
    await refused(await world.post('/oauth/2/token', form(change)), 'no_active_policy')
    await refused(await world.post('/oauth/2/token', form({ ...change, scope: undefined })), 'no_active_policy')
  })

  it('grants what is allowed when no scope was named', async () => {
    const open = await world.resource(zone.id, { scopes: ['read', 'write', 'frozen'] })
    const response = await world.post('/oauth/2/token', form({ scope: undefined, resource: open.identifier }))
    expect(await response.json()).toMatchObject({ scope: 'read' })
  })
})
