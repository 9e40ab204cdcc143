import { createRemoteJWKSet, jwtVerify } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openWorld, type World } from './test-support/world.ts'

const ALLOW_ALL = `
kind: Policy
name: all
rules:
  - id: all
    allow: ["*"]
    on: ["*"]
    for: { any: true }
`

describe.each(['postgres', 'redis'] as const)('the STS with streams on %s', (driver) => {
  let world: World
  beforeAll(async () => {
    world = await openWorld({ driver })
  })
  afterAll(() => world?.close())

  it('mints a mandate for direct authority that an independent verifier accepts', async () => {
    const zone = await world.zone()
    const application = await world.application(zone.id)
    const resource = await world.resource(zone.id)
    await world.policy(zone.id, ALLOW_ALL)
    const response = await world.post('/oauth/2/token', {
      grant_type: 'client_credentials',
      client_id: application.id,
      client_secret: application.secret,
      resource: resource.identifier,
      scope: 'read',
    })
    const body = (await response.json()) as Record<string, string | number>
    expect([response.status, body]).toEqual([
      200,
      {
        access_token: expect.any(String),
        issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        token_type: 'Bearer',
        expires_in: 300,
        scope: 'read',
        mandate_id: expect.stringMatching(/^mnd_/),
      },
    ])
    expect(response.headers.get('cache-control')).toBe('no-store')
    const keys = createRemoteJWKSet(new URL(`${world.sts.address.url}/zones/${zone.id}/jwks.json`))
    const { payload, protectedHeader } = await jwtVerify(String(body.access_token), keys, {
      issuer: `${world.config.ISSUER_URL}/zones/${zone.id}`,
      audience: resource.identifier,
      typ: 'at+jwt',
      algorithms: ['ES256'],
    })
    expect(protectedHeader).toEqual({ typ: 'at+jwt', alg: 'ES256', kid: expect.any(String) })
    expect(payload).toMatchObject({ sub: application.id, client_id: application.id, scope: 'read', zone: zone.id })
  })
})
