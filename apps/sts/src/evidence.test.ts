import type { Event } from '@caracal/core'
import { verifyEvidence } from '@caracal/streams'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { openWorld, type World } from './test-support/world.ts'

const POLICY = `
kind: Policy
name: all
rules:
  - { id: read, allow: [read], on: ["*"], for: { any: true } }
`

let world: World
afterEach(() => world?.close())

async function begin(environment: Record<string, string> = {}) {
  world = await openWorld({ environment })
  const events: Event[] = []
  await world.streams.consume('caracal.audit.events', {
    group: 'test',
    consumer: 'one',
    batch: 100,
    handle: async (messages) =>
      messages.map((message) => {
        const found = verifyEvidence(message.payload, world.config.AUDIT_HMAC_KEY)
        for (const group of found.ok ? found.value : []) events.push(...group.events.map((text) => JSON.parse(text) as Event))
        return 'done' as const
      }),
  })
  const zone = await world.zone()
  const agent = await world.application(zone.id)
  const resource = await world.resource(zone.id)
  await world.policy(zone.id, POLICY)
  return { events, zone, agent, resource }
}

describe('evidence of a mint', () => {
  it('[P-096] names who, what, by which policy and rules, the mandate and the request', async () => {
    const { events, zone, agent, resource } = await begin()
    const minted = await world.ask(agent, { resource: resource.identifier, scope: 'read', ttl: '10000' })
    await vi.waitFor(() => expect(events.filter(({ type }) => type === 'mandate.issued')).toHaveLength(1), 5_000)
    expect(events.find(({ type }) => type === 'mandate.issued')).toMatchObject({
      zone: zone.id,
      service: 'sts',
      actor: { application: agent.id },
      resource: resource.identifier,
      decision: 'allow',
      scopes: ['read'],
      policy: { set_version: expect.stringMatching(/^psv_/), rules: ['all/read'] },
      mandate: { jti: minted.mandate_id, txn: minted.claims?.txn, expiry: minted.claims?.exp },
      request_id: expect.stringMatching(/^req_/),
      details: { grant: 'client_credentials', authentication: 'client_secret_post', clamped_by: 'maximum' },
    })
    expect(JSON.stringify(events)).not.toContain(agent.secret)
    expect(JSON.stringify(events)).not.toContain(minted.access_token)
  })

  it('[P-095] a refusal is evidence; those before authentication are one event with a count', async () => {
    const { events, zone, agent, resource } = await begin()
    await world.ask(agent, { resource: resource.identifier, scope: 'write' })
    for (let i = 0; i < 5; i += 1) await world.ask({ ...agent, secret: 'ccs_wrong' }, { resource: resource.identifier })
    await vi.waitFor(() => expect(events.filter(({ type }) => type === 'mandate.refused').length).toBeGreaterThanOrEqual(2), 5_000)
    expect(events).toContainEqual(
      expect.objectContaining({ type: 'mandate.refused', reason: 'no_rule_allows', actor: { application: agent.id }, scopes: ['write'] }),
    )
    const early = events.filter(({ reason }) => reason === 'invalid_client')
    expect(
      early.every((event) => event.zone === zone.id && event.actor?.application === undefined && event.actor?.source !== undefined),
    ).toBe(true)
    expect(early.reduce((sum, event) => sum + (event.count ?? 0), 0)).toBe(5)
  })

  it('[P-094] a spool that takes nothing more means 503 and no token', async () => {
    // Nobody confirms what is spooled, so a small volume is soon full.
    const { agent, resource } = await begin({ SPOOL_MAX_BYTES: '65536' })
    expect((await world.ask(agent, { resource: resource.identifier })).status).toBe(200)
    let refused = await world.ask(agent, { resource: resource.identifier })
    for (let tries = 0; tries < 200 && refused.status === 200; tries += 1)
      refused = await world.ask(agent, { resource: resource.identifier })
    expect(refused).toMatchObject({ status: 503, code: 'evidence_unavailable', error: 'temporarily_unavailable' })
    expect(refused.access_token).toBeUndefined()
  })
})
