import type { Zone } from '@caracal/core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openWorld, STS_ADMIN_TOKEN, type World } from '../test-support/world.ts'

let world: World
let zone: Zone

beforeAll(async () => {
  world = await openWorld()
  zone = await world.zone()
  await world.resource(zone.id, { scopes: ['read'] })
})
afterAll(() => world?.close())

const get = (path: string, headers: Record<string, string> = {}) => fetch(world.sts.address.url + path, { headers })

it('[P-013] [P-021] metadata names the issuer byte for byte and only what is configured, at both addresses', async () => {
  const issuer = `${world.config.ISSUER_URL}/zones/${zone.id}`
  const one = await get(`/.well-known/oauth-authorization-server/zones/${zone.id}`)
  const two = await get(`/zones/${zone.id}/.well-known/openid-configuration`)
  const metadata = (await one.json()) as Record<string, unknown>
  expect(await two.json()).toEqual(metadata)
  expect(metadata).toMatchObject({
    issuer,
    token_endpoint: `${world.config.ISSUER_URL}/oauth/2/token`,
    authorization_endpoint: `${world.config.ISSUER_URL}/oauth/2/authorize`,
    response_types_supported: [],
    introspection_endpoint: `${world.config.ISSUER_URL}/oauth/2/introspect`,
    revocation_endpoint: `${world.config.ISSUER_URL}/oauth/2/revoke`,
    jwks_uri: `${world.config.ISSUER_URL}/zones/${zone.id}/jwks.json`,
    grant_types_supported: ['client_credentials', 'urn:ietf:params:oauth:grant-type:token-exchange'],
    token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    scopes_supported: ['delegations', 'read', 'sessions'],
  })
  for (const absent of [
    'code_challenge_methods_supported',
    'dpop_signing_alg_values_supported',
    'registration_endpoint',
    'userinfo_endpoint',
  ]) {
    expect(metadata).not.toHaveProperty(absent)
  }
})

it('the authorization endpoint tells everybody that no response type is supported, and redirects nobody', async () => {
  const answer = await fetch(
    `${world.sts.address.url}/oauth/2/authorize?response_type=code&client_id=app_x&redirect_uri=https%3A%2F%2Fevil.example%2F&scope=a&scope=b`,
    { redirect: 'manual' },
  )
  expect([answer.status, answer.headers.get('location'), await answer.json()]).toMatchObject([
    400,
    null,
    { error: 'unsupported_response_type', code: 'unsupported_response_type' },
  ])
})

it('[P-011] [P-013] the key set has next and current, no private part, an ETag and five minutes', async () => {
  const response = await get(`/zones/${zone.id}/jwks.json`)
  expect([response.headers.get('cache-control'), response.headers.get('content-type')]).toEqual([
    'public, max-age=300',
    'application/jwk-set+json',
  ])
  const { keys } = (await response.json()) as { keys: Record<string, string>[] }
  expect(keys).toHaveLength(2)
  for (const key of keys) {
    expect(Object.keys(key).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])
    expect(key).toMatchObject({ alg: 'ES256', kty: 'EC', crv: 'P-256', use: 'sig' })
  }
  const tag = response.headers.get('etag') ?? ''
  expect((await get(`/zones/${zone.id}/jwks.json`, { 'if-none-match': tag })).status).toBe(304)
  expect(await (await get(`/.well-known/jwks.json?zone_id=${zone.id}`)).json()).toEqual({ keys })
})

it.each(['/zones/zon_nonsense/jwks.json', '/zones/zon_01h455vb4pex5vsknk084sn02q/jwks.json', '/.well-known/jwks.json?zone_id=x'])(
  '[P-012] %s is not found and costs no statement',
  async (path) => {
    expect((await get(path)).status).toBe(404)
  },
)

it('[P-011] rotation waits until verifiers can know the next key, and needs the admin token', async () => {
  const path = `/admin/zones/${zone.id}/keys/rotate`
  const rotate = (token: string) => fetch(world.sts.address.url + path, { method: 'POST', headers: { authorization: `Bearer ${token}` } })
  expect((await rotate('wrong')).status).toBe(401)
  const first = (await (await rotate(STS_ADMIN_TOKEN)).json()) as { kid: string; rotated: boolean; signs_at: string }
  const again = (await (await rotate(STS_ADMIN_TOKEN)).json()) as { kid: string; rotated: boolean; signs_at: string }
  expect(again).toEqual(first)
  expect(first.rotated).toBe(false)
  const wait = Date.parse(first.signs_at) - Date.now()
  expect(wait).toBeGreaterThan(540_000)
  expect(wait).toBeLessThanOrEqual(600_000)
})

it('without an STS_ADMIN_TOKEN there is no such route', async () => {
  const bare = await openWorld({ environment: { STS_ADMIN_TOKEN: '' } })
  const response = await fetch(`${bare.sts.address.url}/admin/zones/${zone.id}/keys/rotate`, { method: 'POST' })
  expect(response.status).toBe(404)
  await bare.close()
})
