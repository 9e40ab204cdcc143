import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { ZoneId } from '@caracal/core'
import type { RunningService } from '@caracal/service'
import Type from 'typebox'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openWorld, type World } from '../../apps/sts/src/test-support/world.ts'
import { sharedKeys, startGatewayBeside } from './gateway-beside.ts'

const SECRET = 'upstream-secret-0123456789'

let world: World
let gateway: RunningService
let upstream: Server
let host: string
let zone: ZoneId
let made = 0
/** What the upstream got as a credential; undefined for a call without one. */
const seen: (string | undefined)[] = []

beforeAll(async () => {
  upstream = createServer((request, response) => {
    seen.push(request.headers.authorization)
    response.end('ok')
  })
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
  host = `127.0.0.1:${(upstream.address() as AddressInfo).port}`
  const keys = sharedKeys()
  world = await openWorld({ environment: keys })
  zone = (await world.zone()).id
  await world.policy(zone, 'kind: Policy\nname: all\nrules:\n  - { id: all, allow: ["*"], on: ["*"], for: { any: true } }\n')
  gateway = await startGatewayBeside(world, keys)
}, 120_000)
afterAll(async () => {
  await gateway?.stop()
  await world?.close()
  upstream?.close()
})

/** One call with a mandate that holds, to a resource whose provider is in this state. */
async function callWith(make: (zone: ZoneId) => Promise<{ readonly id: NonNullable<Parameters<World['resource']>[1]>['provider'] }>) {
  const { id } = await make(zone)
  const name = `kept-${++made}`
  const resource = await world.resource(zone, {
    name,
    upstream: `http://${host}`,
    provider: id ?? null,
    egressAllow: ['127.0.0.0/8'],
    scopes: ['use'],
  })
  const { access_token } = await world.ask(await world.application(zone), { resource: resource.identifier })
  seen.length = 0
  const answer = await fetch(`${gateway.address.url}/r/${name}/x`, { headers: { authorization: `Bearer ${access_token}` } })
  const text = await answer.text()
  return { code: answer.ok ? 'ok' : (JSON.parse(text) as { code: string }).code, text }
}

const bearer = { kind: 'bearer' } as const

describe('no credential, no call: the upstream hears nothing when the credential', () => {
  test.each<[string, (zone: ZoneId) => ReturnType<World['provider']>, string]>([
    ['is missing', (zone) => world.provider(zone, bearer, null, { hosts: [host] }), 'credential_unavailable'],
    [
      'has expired',
      (zone) => world.provider(zone, bearer, SECRET, { hosts: [host], expiresAt: Date.now() - 1_000 }),
      'credential_unavailable',
    ],
    [
      'was sealed for another row',
      async (zone) => {
        const sealedFor = { zone, table: 'providers', row: 'prv_00000000000000000000000000', column: 'sealed_secret', version: 1 }
        const reply = Type.Object({ sealed: Type.String() })
        const answer = await world.internal('api').call('/internal/seal', { ...sealedFor, secret: SECRET }, { reply, sealed: true })
        const sealed = answer.ok ? answer.value.sealed : 'nothing'
        return world.provider(zone, bearer, null, { hosts: [host], ...({ secret: { sealed, version: 1, digest: null } } as object) })
      },
      'credential_unavailable',
    ],
    [
      'cannot be read',
      (zone) =>
        world.provider(zone, bearer, null, {
          hosts: [host],
          ...({ secret: { sealed: 'bm90aGluZw', version: 1, digest: null } } as object),
        }),
      'credential_unavailable',
    ],
    ['cannot stand in a header', (zone) => world.provider(zone, bearer, 'two\r\nlines: 1', { hosts: [host] }), 'credential_unavailable'],
    ['is bound to another host', (zone) => world.provider(zone, bearer, SECRET, { hosts: ['127.0.0.1:1'] }), 'credential_unavailable'],
  ])(
    '%s [P-077]',
    async (_, make, code) => {
      const found = await callWith(make)
      expect(found.code).toBe(code)
      expect(found.text).not.toContain(SECRET)
      expect(seen).toEqual([])
    },
    120_000,
  )

  test('is there, it goes with the call [P-077]', async () => {
    expect((await callWith((zone) => world.provider(zone, bearer, SECRET, { hosts: [host] }))).code).toBe('ok')
    expect(seen).toEqual([`Bearer ${SECRET}`])
  }, 120_000)
})
