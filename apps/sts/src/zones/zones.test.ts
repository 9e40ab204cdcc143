import { newId } from '@caracal/core'
import { timestamp } from '@caracal/postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openWorld, type World } from '../test-support/world.ts'

const POLICY = 'kind: Policy\nname: all\nrules:\n  - { id: all, allow: ["*"], on: ["*"], for: { any: true } }\n'

describe('zones in memory', () => {
  let world: World
  beforeAll(async () => {
    world = await openWorld({ settled: false })
  })
  afterAll(() => world?.close())

  it('what was written a moment ago is there without a word of it: zone, application, secret, resource, policy', async () => {
    const zone = await world.zone()
    const agent = await world.application(zone.id)
    await world.policy(zone.id, POLICY)
    const resource = await world.resource(zone.id)
    expect((await world.ask(agent, { resource: resource.identifier })).status).toBe(200)
    const later = await world.resource(zone.id)
    expect((await world.ask(agent, { resource: later.identifier })).status).toBe(200)
    const second = await world.credential(agent)
    expect((await world.ask({ ...agent, secret: second }, { resource: resource.identifier })).status).toBe(200)
  })

  it('[P-024] a zone whose active policy is not whole refuses with its own code and serves neither the old one nor none', async () => {
    const zone = await world.zone()
    const agent = await world.application(zone.id)
    const resource = await world.resource(zone.id)
    await world.policy(zone.id, POLICY)
    const mint = () => world.ask(agent, { resource: resource.identifier, scope: 'read' })
    expect((await mint()).status).toBe(200)
    const head = await world.fixtures.query.selectFrom('policy_heads').selectAll().where('zone', '=', zone.id).executeTakeFirstOrThrow()
    const broken = newId('policySetVersion')
    const set = await world.fixtures.query.selectFrom('policy_sets').selectAll().where('zone', '=', zone.id).executeTakeFirstOrThrow()
    const members = JSON.stringify([{ policy: newId('policy'), version: newId('policyVersion'), sha256: '0' }])
    await world.fixtures.transaction(async (tx) => {
      await tx
        .insertInto('policy_set_versions')
        .values({
          id: broken,
          zone: zone.id,
          policy_set: set.id,
          number: 99,
          members,
          sha256: '0',
          created_at: timestamp(0),
          created_by: 'x',
        })
        .execute()
      await tx.updateTable('policy_heads').set({ set_version: broken }).where('zone', '=', zone.id).execute()
    })
    await world.streams.publish('caracal.policy', JSON.stringify({ v: 1, zone: zone.id, setVersion: broken, sha256: '0', version: 99 }))
    const until = async (status: number, code: string | undefined) => {
      for (let tries = 0; tries < 100; tries += 1) {
        const answer = await mint()
        if (answer.status === status && answer.code === code) return
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      throw new Error(`never ${status} ${code}`)
    }
    await until(503, 'policy_unavailable')
    await world.fixtures.query.updateTable('policy_heads').set({ set_version: head.set_version }).where('zone', '=', zone.id).execute()
    await world.streams.publish(
      'caracal.policy',
      JSON.stringify({ v: 1, zone: zone.id, setVersion: head.set_version, sha256: '0', version: 99 }),
    )
    await until(200, undefined)
  })

  it('an archived application is unknown from then on', async () => {
    const zone = await world.zone()
    const agent = await world.application(zone.id)
    await world.policy(zone.id, POLICY)
    const resource = await world.resource(zone.id)
    expect((await world.ask(agent, { resource: resource.identifier })).status).toBe(200)
    await world.revoke(zone.id, 'application', agent.id)
    for (let tries = 0; tries < 100; tries += 1) {
      const answer = await world.ask(agent, { resource: resource.identifier })
      if (answer.code === 'invalid_client') return
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    throw new Error('a revoked application still mints')
  })
})
