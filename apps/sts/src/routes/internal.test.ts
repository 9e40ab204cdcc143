import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { newId, type Provider, type Resource, type Zone } from '@caracal/core'
import { listReplicas } from '@caracal/postgres'
import Type from 'typebox'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { established, openWorld, type World } from '../test-support/world.ts'

const CREDENTIAL = Type.Object({
  kind: Type.String(),
  secret: Type.Union([Type.String(), Type.Null()]),
  expiresAt: Type.Union([Type.Number(), Type.Null()]),
})
const ANY = Type.Object({}, { additionalProperties: true })

let world: World
let zone: Zone
beforeAll(async () => {
  world = await openWorld()
  zone = await world.zone()
})
afterAll(() => world?.close())

const call = (caller: string, path: string, body: unknown, sealed = false) =>
  world.internal(caller).call(path, body, { reply: ANY, sealed })

describe('replicas', () => {
  it('get what they must know of the zones they name, and never a secret, a credential or a private key', async () => {
    const application = await world.application(zone.id)
    await world.provider(zone.id, { kind: 'bearer' }, 'upstream-secret-value')
    const all = established(await call('gateway', '/internal/snapshot', {})) as {
      zones: { id: string }[]
      revocations: { position: string }
    }
    expect(all.zones.map(({ id }) => id)).toContain(zone.id)
    expect(all.revocations.position).toBeTypeOf('string')
    const text = JSON.stringify(all)
    for (const secret of [application.secret, 'upstream-secret-value', 'csv1.', '"d":', 'digest']) expect(text).not.toContain(secret)
    const none = established(await call('gateway', '/internal/snapshot', { zones: [] })) as { zones: unknown[] }
    expect(none.zones).toEqual([])
  })

  it('[P-023] are noted with what they serve, and learn what is current and revoked', async () => {
    const revoked = newId('mandate')
    await world.revoke(zone.id, 'mandate', revoked)
    const loaded = { [zone.id]: { version: 1, policy: null, error: 'does not compile' } }
    const request = { v: 1, replica: 'gateway-a', role: 'gateway', loaded, revocationsSince: Date.now() - 1000 }
    const answer = established(await call('gateway', '/internal/sync', request)) as {
      zones: Record<string, { version: number }>
      revocations: { id: string }[]
    }
    expect(answer.zones[zone.id]?.version).toBeGreaterThan(1)
    expect(answer.revocations.map(({ id }) => id)).toContain(revoked)
    await vi.waitFor(async () =>
      expect(await listReplicas(world.fixtures.query, zone.id, 0)).toMatchObject([
        { replica: 'gateway-a', role: 'gateway', configVersion: 1, error: 'does not compile' },
        { role: 'sts', error: null, configVersion: answer.zones[zone.id]?.version },
      ]),
    )
  })

  it.each([
    ['/internal/snapshot', 'api', {}, false],
    ['/internal/sync', 'coordinator', {}, false],
    ['/internal/credentials', 'api', {}, true],
    ['/internal/seal', 'gateway', {}, true],
    ['/internal/digest-secret', 'gateway', {}, true],
  ])('%s is not for %s', async (path, caller, body, sealed) => {
    expect(await call(caller, path, body, sealed)).toMatchObject({ ok: false, reason: 'forbidden' })
    const unsigned = await fetch(world.sts.address.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    })
    expect(unsigned.status).toBe(401)
  })
})

describe('upstream credentials', () => {
  let server: Server
  let endpoint: string
  const seen: { body: string; authorization: string | undefined }[] = []
  const answer = { status: 200, body: '' }
  beforeAll(async () => {
    server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk) => chunks.push(chunk))
      request.on('end', () => {
        seen.push({ body: Buffer.concat(chunks).toString(), authorization: request.headers.authorization })
        setTimeout(() => response.writeHead(answer.status, { location: '/other' }).end(answer.body), 30)
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`
  })
  afterAll(() => server.close())

  const released = (provider: Provider, resource: Resource, host = 'up.example') =>
    world
      .internal('gateway')
      .call(
        '/internal/credentials',
        { zone: zone.id, provider: provider.id, resource: resource.id, host },
        { reply: CREDENTIAL, sealed: true },
      )
  const oauth = (change: object = {}) =>
    world.provider(
      zone.id,
      {
        kind: 'oauth2_client_credentials',
        tokenEndpoint: endpoint,
        clientId: 'agent one',
        clientAuthentication: 'client_secret_basic',
        scope: 'a b',
        egressAllow: ['127.0.0.0/8'],
        ...change,
      },
      's/ecret',
    )

  it.each([
    [{ kind: 'bearer' as const }, 'b-secret'],
    [{ kind: 'basic' as const, username: 'u' }, 'p-secret'],
    [{ kind: 'api_key' as const, placement: { in: 'header' as const, name: 'x-key', prefix: '' } }, 'k-secret'],
  ])('of %j are opened for their resource and host, and for nothing else', async (method, secret) => {
    const provider = await world.provider(zone.id, method, secret)
    const resource = await world.resource(zone.id, { provider: provider.id })
    const elsewhere = await world.resource(zone.id)
    expect(await released(provider, resource)).toEqual({ ok: true, value: { kind: method.kind, secret, expiresAt: null } })
    expect(await released(provider, resource, 'evil.example')).toMatchObject({ reason: 'credential_unavailable' })
    expect(await released(provider, elsewhere)).toMatchObject({ reason: 'credential_unavailable' })
  })

  it('that have expired, or have no secret, are not released', async () => {
    const old = await world.provider(zone.id, { kind: 'bearer' }, 'x-secret', { expiresAt: Date.now() - 1 })
    const empty = await world.provider(zone.id, { kind: 'bearer' }, null)
    for (const provider of [old, empty]) {
      const resource = await world.resource(zone.id, { provider: provider.id })
      expect(await released(provider, resource)).toMatchObject({ reason: 'credential_unavailable' })
    }
  })

  it('[P-081] fifty callers cost one request at the token endpoint', async () => {
    answer.status = 200
    answer.body = JSON.stringify({ access_token: 'fetched', token_type: 'Bearer', expires_in: 3600 })
    const provider = await oauth()
    const resource = await world.resource(zone.id, { provider: provider.id })
    seen.length = 0
    const all = await Promise.all(Array.from({ length: 50 }, () => released(provider, resource)))
    expect(all.every((one) => one.ok && one.value.secret === 'fetched' && Number(one.value.expiresAt) > Date.now() + 3_500_000)).toBe(true)
    expect(seen).toEqual([
      { body: 'grant_type=client_credentials&scope=a+b', authorization: `Basic ${Buffer.from('agent+one:s%2Fecret').toString('base64')}` },
    ])
  })

  it.each([
    ['an error', 500, '{}'],
    ['a redirect', 302, ''],
    ['no JSON', 200, 'hello'],
    ['no token', 200, '{"token_type":"Bearer"}'],
    ['another kind of token', 200, '{"access_token":"x","token_type":"mac"}'],
    ['more than 256 KiB', 200, JSON.stringify({ access_token: 'x', token_type: 'Bearer', more: 'y'.repeat(300_000) })],
  ])('[P-080] %s gives no credential, and the provider rests', async (_name, status, body) => {
    Object.assign(answer, { status, body })
    const provider = await oauth()
    const resource = await world.resource(zone.id, { provider: provider.id })
    seen.length = 0
    expect(await released(provider, resource)).toMatchObject({ reason: 'credential_unavailable' })
    expect(await released(provider, resource)).toMatchObject({ reason: 'credential_unavailable' })
    expect(seen).toHaveLength(1)
  })

  it('[P-080] a token endpoint at an address that is not allowed is not called', async () => {
    Object.assign(answer, { status: 200, body: JSON.stringify({ access_token: 'x', token_type: 'Bearer' }) })
    const provider = await oauth({ egressAllow: ['10.0.0.0/8'] })
    const resource = await world.resource(zone.id, { provider: provider.id })
    seen.length = 0
    expect(await released(provider, resource)).toMatchObject({ reason: 'credential_unavailable' })
    expect(seen).toHaveLength(0)
  })

  it('is refreshed in the background before it ends', async () => {
    Object.assign(answer, { status: 200, body: JSON.stringify({ access_token: 'short', token_type: 'bearer', expires_in: 8 }) })
    const provider = await oauth()
    const resource = await world.resource(zone.id, { provider: provider.id })
    await released(provider, resource)
    seen.length = 0
    answer.body = JSON.stringify({ access_token: 'next', token_type: 'bearer', expires_in: 3600 })
    await vi.waitFor(
      async () => {
        const now = await released(provider, resource)
        expect(now.ok && now.value.secret).toBe('next')
      },
      { timeout: 5_000, interval: 200 },
    )
    expect(seen).toHaveLength(1)
  })
})
