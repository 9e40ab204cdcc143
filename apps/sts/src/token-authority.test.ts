import { newId, type Reason } from '@caracal/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  ACCESS_TOKEN,
  agent,
  EXCHANGE,
  type Fields,
  foreign,
  form,
  openTokenDesk,
  other,
  POLICY,
  peer,
  refused,
  resource,
  session,
  stranger,
  token,
  world,
  zone,
} from './test-support/token-desk.ts'

beforeAll(openTokenDesk)
afterAll(() => world?.close())

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
