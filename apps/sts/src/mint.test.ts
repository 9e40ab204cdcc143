import { type Application, MAX_MANDATE_LIFE, type Resource, type Zone } from '@caracal/core'
import { timestamp } from '@caracal/postgres'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { openWorld, type World } from './test-support/world.ts'

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
const SCOPES = ['read', 'write', 'list', 'admin']

const POLICY = `
kind: Policy
name: mint
rules:
  - { id: all, allow: [read, write, list, admin, short, once], on: ["*"], for: { any: true } }
  - { id: short, allow: [short], on: ["*"], for: { any: true }, limits: { maxTtl: 30s } }
  - { id: once, allow: [once], on: ["*"], for: { any: true }, limits: { once: true } }
  - { id: no-admin, deny: [admin], on: ["*"], for: { labels: [narrow] } }
`

let world: World
let zone: Zone
let agent: Application & { readonly secret: string }
let peer: Application & { readonly secret: string }
let narrow: Application & { readonly secret: string }
let resource: Resource

beforeAll(async () => {
  world = await openWorld({ environment: { ISSUER_ALIASES: 'http://former.example' } })
  zone = await world.zone()
  agent = await world.application(zone.id)
  peer = await world.application(zone.id)
  narrow = await world.application(zone.id, { labels: ['narrow'] })
  resource = await world.resource(zone.id, { scopes: [...SCOPES, 'short', 'once'] })
  await world.policy(zone.id, POLICY)
})
afterAll(() => world?.close())

const ask = (by: Application & { readonly secret: string }, change: Record<string, string | undefined> = {}) =>
  world.ask(by, { resource: resource.identifier, ...change })
const exchange = (
  by: Application & { readonly secret: string },
  subject: string | undefined,
  change: Record<string, string | undefined> = {},
) => ask(by, { grant_type: EXCHANGE, subject_token: subject, subject_token_type: ACCESS_TOKEN, ...change })

describe('the lifetime', () => {
  it('[P-001] is what was asked for, the default, or what bounds it, and says what did', async () => {
    expect(await ask(agent, { scope: 'read' })).toMatchObject({ expires_in: 300 })
    expect(await ask(agent, { scope: 'read', ttl: '7' })).toMatchObject({ expires_in: 7 })
    expect(await ask(agent, { scope: 'read', ttl: '86400' })).toMatchObject({ expires_in: MAX_MANDATE_LIFE, clamped_by: 'maximum' })
    expect(await ask(agent, { scope: 'short' })).toMatchObject({ expires_in: 30, clamped_by: 'rule' })
    const session = await world.session(agent, { expiresAt: Date.now() + 20_000 })
    const bounded = await ask(agent, { scope: 'read', session: session.id })
    expect(bounded.expires_in).toBeLessThanOrEqual(20)
    expect(bounded.clamped_by).toBe(session.id)
  })

  it('[P-001] a subject token with two seconds left buys no more', async () => {
    const subject = await ask(agent, { scope: 'read', ttl: '2' })
    const child = await exchange(agent, subject.access_token, { ttl: '900' })
    expect(child.claims?.exp).toBe(subject.claims?.exp)
    expect(child).toMatchObject({ clamped_by: 'subject_token' })
  })

  it('a rule, the resource or the request makes it single use', async () => {
    expect((await ask(agent, { scope: 'once' })).claims).toMatchObject({ once: true })
    expect((await ask(agent, { scope: 'read', once: 'true' })).claims).toMatchObject({ once: true })
    expect((await ask(agent, { scope: 'read', once: 'false' })).claims).not.toHaveProperty('once')
    const single = await world.resource(zone.id, { once: true })
    expect((await ask(agent, { scope: 'read', resource: single.identifier })).claims).toMatchObject({ once: true })
  })
})

describe('lineage', () => {
  it('[P-038] stands in the mandate, delegator first, and so do those who delegated', async () => {
    const above = await world.session(peer)
    const from = await world.session(peer, { above, labels: ['x'] })
    const own = await world.session(agent, { kind: 'service', lease: { generation: 1, expiresAt: Date.now() + 60_000 }, labels: ['batch'] })
    const delegation = await world.delegation(from, own, [{ resource: resource.id, scopes: ['read', 'list'] }])
    const { claims } = await ask(agent, { session: own.id, delegation: delegation.id })
    expect(claims).toMatchObject({
      sub: agent.id,
      client_id: agent.id,
      act: { sub: agent.id, act: { sub: peer.id } },
      ses: [above.id, from.id, own.id],
      dlg: [delegation.id],
      scope: 'list read',
      ctx: {
        session: { kind: 'service', depth: 1, labels: ['batch'] },
        principals: [{ application: peer.id, depth: 0, session: { id: from.id, kind: 'task', depth: 2, labels: ['x'] } }],
      },
    })
  })

  it('[P-002] exchanges keep everybody on whose authority they stand, once each, for the rules of the call', async () => {
    const from = await world.session(peer)
    const own = await world.session(agent)
    const delegation = await world.delegation(from, own, [{ resource: resource.id, scopes: ['read'] }])
    const first = await ask(agent, { session: own.id, delegation: delegation.id })
    const principals = [{ application: peer.id, depth: 0, session: { id: from.id, kind: 'task', depth: 1, labels: [] } }]
    expect((await exchange(agent, first.access_token)).claims?.ctx).toMatchObject({ principals })
    const second = await exchange(peer, first.access_token)
    const added = [...principals, { application: agent.id, depth: 1, session: { id: own.id, kind: 'task', depth: 1, labels: [] } }]
    expect(second.claims?.ctx).toMatchObject({ principals: added })
    expect((await exchange(peer, second.access_token)).claims?.ctx).toMatchObject({ principals: added })
    const direct = await ask(agent, { scope: 'read' })
    expect(direct.claims?.ctx).toBeUndefined()
    expect((await exchange(peer, direct.access_token)).claims?.ctx).toEqual({ principals: [{ application: agent.id, depth: 0 }] })
  })

  it('[P-053] revoking any link ends what stands on it and nothing beside it; a lifted suspension works again', async () => {
    const root = await world.session(agent)
    const left = await world.session(agent, { above: root })
    const right = await world.session(agent, { above: root })
    const can = async (session: string) => (await ask(agent, { scope: 'read', session })).status === 200
    expect(await can(left.id)).toBe(true)
    await world.revoke(zone.id, 'session', left.id)
    await vi.waitFor(async () => expect(await ask(agent, { scope: 'read', session: left.id })).toMatchObject({ code: 'lineage_revoked' }))
    expect([await can(root.id), await can(right.id), (await ask(agent, { scope: 'read' })).status]).toEqual([true, true, 200])
    await world.revoke(zone.id, 'session', left.id, 'lift')
    await vi.waitFor(async () => expect(await can(left.id)).toBe(true))
  })

  it('authority is what every delegator’s policy allows too', async () => {
    const from = await world.session(narrow)
    const own = await world.session(agent)
    const delegation = await world.delegation(from, own, [{ resource: resource.id, scopes: ['read', 'admin'] }])
    const change = { session: own.id, delegation: delegation.id }
    expect(await ask(agent, { ...change, scope: 'admin' })).toMatchObject({ code: 'denied_by_rule' })
    expect((await ask(agent, change)).scope).toBe('read')
    expect((await ask(agent, { scope: 'admin' })).status).toBe(200)
  })

  it('what the Coordinator says changed is read anew, and a renewed lease without a word of it', async () => {
    const lease = { generation: 1, expiresAt: Date.now() + 2_100 }
    const session = await world.session(agent, { kind: 'service', lease })
    expect((await ask(agent, { scope: 'read', session: session.id })).status).toBe(200)
    await vi.waitFor(
      async () => expect(await ask(agent, { scope: 'read', session: session.id })).toMatchObject({ code: 'lineage_expired' }),
      5_000,
    )
    await world.fixtures.query
      .updateTable('sessions')
      .set({ lease_expires_at: timestamp(Date.now() + 60_000) })
      .where('id', '=', session.id)
      .execute()
    expect((await ask(agent, { scope: 'read', session: session.id })).status).toBe(200)
    await world.fixtures.query.updateTable('sessions').set({ state: 'suspended' }).where('id', '=', session.id).execute()
    await world.streams.publish('caracal.coordination', JSON.stringify({ v: 1, zone: zone.id, kind: 'session', id: session.id }))
    await vi.waitFor(async () =>
      expect(await ask(agent, { scope: 'read', session: session.id })).toMatchObject({ code: 'session_suspended' }),
    )
  })

  it('Caracal itself is a resource that needs no rule', async () => {
    const empty = await world.zone()
    const client = await world.application(empty.id)
    const issuer = `${world.config.ISSUER_URL}/zones/${empty.id}`
    const minted = await world.ask(client, { resource: issuer })
    expect(minted).toMatchObject({ status: 200, scope: 'delegations sessions', expires_in: 900, claims: { aud: issuer, iss: issuer } })
    expect(await world.ask(client, { resource: issuer, scope: 'read' })).toMatchObject({ code: 'invalid_scope' })
    const former = `http://former.example/zones/${empty.id}`
    expect((await world.ask(client, { resource: former })).claims).toMatchObject({ aud: issuer, iss: issuer })
    expect(await world.ask(client, { resource: former.replace(empty.id, zone.id) })).toMatchObject({ code: 'invalid_target' })
  })
})

describe('token exchange', () => {
  it('[P-018] keeps subject, transaction and history; the caller is the current actor', async () => {
    const parent = await ask(agent, { scope: 'read write' })
    const own = await exchange(agent, parent.access_token, { scope: 'read' })
    expect(own.claims).toMatchObject({
      sub: agent.id,
      client_id: agent.id,
      txn: parent.claims?.txn,
      mnd: [parent.mandate_id],
      scope: 'read',
    })
    expect(own.claims).not.toHaveProperty('act')
    const handed = await exchange(peer, own.access_token)
    expect(handed.claims).toMatchObject({
      sub: agent.id,
      client_id: peer.id,
      act: { sub: peer.id, act: { sub: agent.id } },
      mnd: [parent.mandate_id, own.mandate_id],
      txn: parent.claims?.txn,
    })
    const third = await exchange(narrow, handed.access_token)
    expect(third.claims?.act).toEqual({ sub: narrow.id, act: { sub: peer.id, act: { sub: agent.id } } })
  })

  it('[P-053] a revoked parent can not be exchanged, nor what was exchanged from it', async () => {
    const parent = await ask(agent, { scope: 'read' })
    const child = await exchange(peer, parent.access_token)
    await world.revoke(zone.id, 'mandate', String(parent.mandate_id))
    await vi.waitFor(async () => expect(await exchange(agent, parent.access_token)).toMatchObject({ code: 'invalid_subject_token' }))
    expect(await exchange(peer, child.access_token)).toMatchObject({ code: 'invalid_subject_token' })
  })

  it('[P-002] never grants more than the parent, in any order or repetition of parameters', async () => {
    const subset = fc.subarray(SCOPES, { minLength: 1 })
    await fc.assert(
      fc.asyncProperty(subset, fc.array(fc.constantFrom(...SCOPES), { maxLength: 6 }), fc.boolean(), async (held, wanted, handed) => {
        const parent = await ask(agent, { scope: held.join(' ') })
        const child = await exchange(handed ? peer : agent, parent.access_token, {
          scope: wanted.length === 0 ? undefined : wanted.join(' '),
        })
        if (wanted.every((scope) => held.includes(scope))) {
          const expected = wanted.length === 0 ? held : [...new Set(wanted)]
          expect(child.scope).toBe([...expected].sort().join(' '))
          expect(Number(child.claims?.exp)).toBeLessThanOrEqual(Number(parent.claims?.exp))
        } else expect(child.code).toBe('scope_exceeds_parent')
      }),
      { numRuns: 40 },
    )
  })
})
