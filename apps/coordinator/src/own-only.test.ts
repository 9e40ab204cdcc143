import type { Delegation, Session } from '@caracal/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { COORDINATOR_TOKEN, member, offered, openWorld, started, type TestZone, type World } from './test-support/world.ts'

let world: World
let zone: TestZone
let tokens: Record<'alice' | 'bob' | 'carol', string>
let session: Session
let delegation: Delegation
beforeAll(async () => {
  world = await openWorld('embedded')
  zone = await world.zone({ applications: ['alice', 'bob', 'carol'], resources: { bank: ['read'] } })
  const token = (name: string) => zone.token(member(zone.applications, name))
  tokens = { alice: token('alice'), bob: token('bob'), carol: token('carol') }
  session = await started(world, zone, tokens.alice)
  const grants = [{ resource: member(zone.resources, 'bank').id, scopes: ['read'] }]
  delegation = await offered(world, zone, tokens.alice, { from: session.id, toApplication: 'bob', grants })
})
afterAll(() => world?.close())

const ids = (body: { items: readonly { id: string }[] }) => body.items.map((one) => one.id)

describe('[P-040] an application sees only sessions and delegations that it is party to', () => {
  it('sessions: lists, reads, trees, authority and acts of another application find nothing', async () => {
    expect(ids((await world.call('GET', zone.path('/sessions'), tokens.alice)).body)).toContain(session.id)
    expect(ids((await world.call('GET', zone.path('/sessions'), tokens.bob)).body)).not.toContain(session.id)
    const asked = `/sessions?application=${member(zone.applications, 'alice').id}`
    expect((await world.call('GET', zone.path(asked), tokens.bob)).status).toBe(404)
    for (const rest of ['', '/tree', '/authority']) {
      const path = zone.path(`/sessions/${session.id}${rest}`)
      expect((await world.call('GET', path, tokens.alice)).status, rest).toBe(200)
      expect((await world.call('GET', path, tokens.bob)).status, rest).toBe(404)
    }
    for (const act of ['suspend', 'resume', 'end']) {
      expect((await world.call('POST', zone.path(`/sessions/${session.id}/${act}`), tokens.bob)).status, act).toBe(404)
    }
    const child = await world.call('POST', zone.path('/sessions'), tokens.bob, { kind: 'task', ttl: 60, parent: session.id })
    expect(child.body.code).toBe('session_not_usable')
    const named = { kind: 'task', ttl: 60, application: member(zone.applications, 'alice').id }
    expect((await world.call('POST', zone.path('/sessions'), tokens.bob, named)).body.code).toBe('forbidden')
  })

  it('delegations: both parties see it, a third application does not', async () => {
    for (const [name, token] of Object.entries(tokens)) {
      const isParty = name !== 'carol'
      expect(ids((await world.call('GET', zone.path('/delegations'), token)).body).includes(delegation.id), name).toBe(isParty)
      for (const rest of ['', '/impact']) {
        const found = await world.call('GET', zone.path(`/delegations/${delegation.id}${rest}`), token)
        expect(found.status, name + rest).toBe(isParty ? 200 : 404)
      }
    }
    const own = await started(world, zone, tokens.carol)
    const accept = await world.call('POST', zone.path(`/delegations/${delegation.id}/accept`), tokens.carol, { session: own.id })
    expect(accept.status).toBe(404)
    expect((await world.call('POST', zone.path(`/delegations/${delegation.id}/revoke`), tokens.carol)).status).toBe(404)
  })

  it('a mandate of a session reaches that session’s subtree and nothing beside it', async () => {
    const alice = member(zone.applications, 'alice')
    const ctx = { session: { kind: 'task', depth: 1, labels: [] } }
    const bound = zone.token(alice, { ses: session.lineage, ctx })
    const beside = await started(world, zone, tokens.alice)
    const below = await started(world, zone, bound)
    expect(below.parent).toBe(session.id)
    expect(ids((await world.call('GET', zone.path('/sessions'), bound)).body).sort()).toEqual([session.id, below.id].sort())
    expect((await world.call('POST', zone.path(`/sessions/${beside.id}/end`), bound)).status).toBe(404)
    expect((await world.call('POST', zone.path('/sessions'), bound, { kind: 'task', ttl: 60, parent: beside.id })).status).toBe(400)
    expect((await world.call('POST', zone.path(`/sessions/${below.id}/end`), bound)).status).toBe(200)
  })

  it('an operator sees and changes all of the zone, and names the application', async () => {
    expect(ids((await world.call('GET', zone.path('/sessions'), COORDINATOR_TOKEN)).body)).toContain(session.id)
    expect((await world.call('POST', zone.path('/sessions'), COORDINATOR_TOKEN, { kind: 'task', ttl: 60 })).body.code).toBe(
      'missing_parameter',
    )
    const made = await started(world, zone, COORDINATOR_TOKEN, { application: 'bob' })
    expect(made.application).toBe(member(zone.applications, 'bob').id)
    expect((await world.call('POST', zone.path(`/sessions/${made.id}/end`), COORDINATOR_TOKEN)).body.state).toBe('ended')
  })

  it('pages through its own with cursors that fit no other list', async () => {
    const seen: string[] = []
    let cursor: string | null = null
    do {
      const asked: string = `/sessions?limit=2${cursor === null ? '' : `&cursor=${cursor}`}`
      const { body } = await world.call('GET', zone.path(asked), tokens.alice)
      seen.push(...ids(body))
      cursor = body.next_cursor
      if (cursor !== null) {
        expect((await world.call('GET', zone.path(`/sessions?cursor=${cursor}`), tokens.bob)).body.code).toBe('invalid_request')
        expect((await world.call('GET', zone.path(`/delegations?cursor=${cursor}`), tokens.alice)).body.code).toBe('invalid_request')
      }
    } while (cursor !== null)
    const whole = ids((await world.call('GET', zone.path('/sessions?limit=500'), tokens.alice)).body)
    expect(seen).toEqual(whole)
  })
})
