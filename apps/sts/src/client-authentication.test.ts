import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { request } from 'node:http'
import { newId, REASONS } from '@caracal/core'
import { SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  ASSERTION,
  agent,
  type Fields,
  form,
  openTokenDesk,
  pair,
  peer,
  refused,
  stranger,
  world,
  zone,
} from './test-support/token-desk.ts'

beforeAll(openTokenDesk)
afterAll(() => world?.close())

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
