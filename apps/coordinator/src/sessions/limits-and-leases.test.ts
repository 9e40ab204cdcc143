import { randomBytes } from 'node:crypto'
import type { Session } from '@caracal/core'
import { keyRing } from '@caracal/core'
import { outboxEvidence } from '@caracal/streams'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { COORDINATOR_TOKEN, member, openWorld, started, type TestZone, type World } from '../test-support/world.ts'
import { sweepOnce } from './sweep.ts'

const LIMITS = { SESSIONS_PER_ZONE: '9', SESSIONS_PER_APPLICATION: '6', SESSIONS_PER_PARENT: '2', SESSION_DEPTH: '3' }

let world: World
beforeAll(async () => {
  world = await openWorld('embedded', LIMITS)
})
afterAll(() => world?.close())

const start = (zone: TestZone, token: string, body: Record<string, unknown> = {}) =>
  world.call('POST', zone.path('/sessions'), token, { kind: 'task', ...(body.kind === 'service' ? {} : { ttl: 60 }), ...body })

describe('[P-042] limits', () => {
  it('of depth, children, application and zone are 429 with the limit named, show their headroom, and free themselves', async () => {
    const zone = await world.zone({ applications: ['agent', 'peer'] })
    const [agent, peer] = [zone.token(member(zone.applications, 'agent')), zone.token(member(zone.applications, 'peer'))]
    const limitOf = async (token: string, body: Record<string, unknown> = {}) => {
      const answered = await start(zone, token, body)
      expect(answered.status).toBe(429)
      expect(answered.headers.get('retry-after')).not.toBeNull()
      return answered.body.limit
    }
    const root = await started(world, zone, agent)
    const child = await started(world, zone, agent, { parent: root.id })
    const leaf = await started(world, zone, agent, { parent: child.id })
    expect(await limitOf(agent, { parent: leaf.id })).toBe('depth')
    await started(world, zone, agent, { parent: root.id })
    expect(await limitOf(agent, { parent: root.id })).toBe('children_per_session')
    const free = await started(world, zone, agent, { ttl: 5 })
    await started(world, zone, agent)
    expect(await limitOf(agent)).toBe('sessions_per_application')
    for (let made = 0; made < 3; made += 1) await started(world, zone, peer)
    expect(await limitOf(peer)).toBe('sessions_per_zone')

    const headroom = (await world.call('GET', zone.path('/session-limits'), agent)).body
    expect(headroom).toEqual({ zone: { most: 9, used: 9 }, application: { most: 6, used: 6 }, children: 2, depth: 3 })
    // What has run out makes room at once, and what is ended too.
    world.clock.now += 5_000
    expect((await world.call('GET', zone.path(`/sessions/${free.id}`), agent)).body.standing).toBe('ended')
    expect((await start(zone, peer)).status).toBe(201)
    await world.call('POST', zone.path(`/sessions/${root.id}/end`), agent)
    expect((await world.call('GET', zone.path('/session-limits'), agent)).body.application.used).toBe(1)
  })
})

describe('[P-043] leases', () => {
  const service = { kind: 'service', lease: 30 }

  it('are fenced by generation: who lost it is told, and cannot renew', async () => {
    const zone = await world.zone({ applications: ['agent'] })
    const token = zone.token(member(zone.applications, 'agent'))
    const at = (session: Session, rest: string) => zone.path(`/sessions/${session.id}/${rest}`)
    const session: Session = (await start(zone, token, service)).body
    expect(session.lease).toEqual({ generation: 1, expiresAt: world.clock.now + 30_000 })

    world.clock.now += 20_000
    const beat = (generation: number, lease = 30) => world.call('POST', at(session, 'heartbeat'), token, { generation, lease })
    expect((await beat(1)).body.lease).toEqual({ generation: 1, expiresAt: world.clock.now + 30_000 })
    expect((await world.call('POST', at(session, 'lease'), token, { lease: 30 })).body.lease.generation).toBe(2)
    expect(await beat(1)).toMatchObject({ status: 409, body: { code: 'lease_lost' } })
    expect((await beat(2)).status).toBe(200)

    await world.call('POST', at(session, 'suspend'), token)
    expect((await beat(2)).body).toMatchObject({ state: 'suspended', lease: { generation: 2 } })
    await world.call('POST', at(session, 'resume'), token)

    world.clock.now += 30_000
    expect((await world.call('GET', zone.path(`/sessions/${session.id}`), token)).body).toMatchObject({
      state: 'active',
      standing: 'ended',
    })
    expect(await beat(2)).toMatchObject({ status: 409, body: { code: 'lease_lost' } })
    expect((await world.call('POST', at(session, 'lease'), token, {})).body.code).toBe('session_not_usable')
    expect((await start(zone, token, { parent: session.id })).body.code).toBe('lineage_expired')
  })

  it('belong to services: a task has none', async () => {
    const zone = await world.zone({ applications: ['agent'] })
    const token = zone.token(member(zone.applications, 'agent'))
    const task = await started(world, zone, token)
    for (const [rest, body] of [
      ['heartbeat', { generation: 1 }],
      ['lease', {}],
    ] as const) {
      expect((await world.call('POST', zone.path(`/sessions/${task.id}/${rest}`), token, body)).body.code).toBe('session_not_usable')
    }
    expect((await start(zone, token, { kind: 'service' })).status).toBe(422)
    expect((await start(zone, token, { lease: 30 })).status).toBe(422)
    expect((await start(zone, token, { subject: 'sub_x' })).status).toBe(422)
  })

  it('that run out are marked ended by the sweeper with their subtree, also by two at once, and renewed ones are not', async () => {
    const zone = await world.zone({ applications: ['agent'] })
    const token = zone.token(member(zone.applications, 'agent'))
    const dead: Session = (await start(zone, token, service)).body
    const below: Session = (await start(zone, token, { parent: dead.id, ttl: 3_000 })).body
    const kept: Session = (await start(zone, token, service)).body
    world.clock.now += 29_000
    await world.call('POST', zone.path(`/sessions/${kept.id}/heartbeat`), token, { generation: 1, lease: 60 })
    world.clock.now += 10_000
    const evidence = outboxEvidence({ service: 'coordinator', keys: keyRing(randomBytes(32)) })
    const desk = { database: world.database, streams: world.streams, clock: () => world.clock.now, evidence }
    const hold = { demand: async () => {} }
    await Promise.all([sweepOnce(desk, hold), sweepOnce(desk, hold)])
    const state = async (session: Session) => (await world.call('GET', zone.path(`/sessions/${session.id}`), COORDINATOR_TOKEN)).body.state
    expect([await state(dead), await state(below), await state(kept)]).toEqual(['ended', 'ended', 'active'])
    const published = await world.database.query
      .selectFrom('revocations')
      .select(['target', 'reason'])
      .where('target', '=', dead.id)
      .execute()
    expect(published).toEqual([{ target: dead.id, reason: 'lease_expired' }])
  })
})
