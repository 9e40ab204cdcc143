import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { member, offered, openWorld, started, type TestZone, type World } from '../test-support/world.ts'

let world: World
let zone: TestZone
const token = (name: string) => zone.token(member(zone.applications, name))
const POLICY = `
kind: Policy
name: bank
rules:
  - id: read
    allow: [read]
    on: ["*"]
    for: { applications: [owner, helper] }
  - id: owners-write
    allow: [write, pay]
    on: ["*"]
    for: { applications: [owner] }
  - id: helpers-write
    allow: [write]
    on: ["*"]
    for: { applications: [helper] }
    when: session.kind == "task"
  - id: a-human
    hold: [pay]
    on: ["*"]
    for: { applications: [owner] }
    approval: { tier: payments, approvers: [role:approver], ttl: 15m }
`
beforeAll(async () => {
  world = await openWorld('embedded')
  zone = await world.zone({ applications: ['owner', 'helper', 'nobody'], resources: { bank: ['read', 'write', 'pay'], shop: ['read'] } })
  await world.policy(zone.id, POLICY)
})
afterAll(() => world?.close())

type Shown = { delegation: string | null; until: number | null; reason: string | null; scopes: Record<string, string> }

/** What each way holds, as `{resource name} {scope}` → effect. */
async function authority(name: string, session: { id: string }): Promise<readonly Shown[]> {
  const answered = await world.call('GET', zone.path(`/sessions/${session.id}/authority`), token(name))
  expect(answered.status).toBe(200)
  const names = new Map(Object.entries(zone.resources).map(([key, resource]) => [resource.id as string, key]))
  type Way = Omit<Shown, 'scopes'> & { resources: readonly { resource: string; scopes: readonly { scope: string; effect: string }[] }[] }
  return (answered.body.ways as Way[]).map(({ resources, ...way }) => ({
    ...way,
    scopes: Object.fromEntries(
      resources.flatMap(({ resource, scopes }) => scopes.map(({ scope, effect }) => [`${names.get(resource)} ${scope}`, effect])),
    ),
  }))
}

describe('the authority of a session', () => {
  it('by its own right is what the active policy gives its application, per resource', async () => {
    const owner = await started(world, zone, token('owner'))
    expect(await authority('owner', owner)).toEqual([
      {
        delegation: null,
        until: owner.expiresAt,
        reason: null,
        scopes: { 'bank read': 'allow', 'bank write': 'allow', 'bank pay': 'hold', 'shop read': 'allow' },
      },
    ])
    expect((await authority('nobody', await started(world, zone, token('nobody'))))[0]?.scopes).toEqual({})
  })

  it('through a delegation is what both sides and every grant hold, also for children three generations down', async () => {
    const owner = await started(world, zone, token('owner'))
    const helper = await started(world, zone, token('helper'), { ttl: 600 })
    const grants = [{ resource: member(zone.resources, 'bank').id, scopes: ['pay', 'write'] }]
    const offer = await offered(world, zone, token('owner'), { from: owner.id, toApplication: 'helper', grants })
    await world.call('POST', zone.path(`/delegations/${offer.id}/accept`), token('helper'), { session: helper.id })
    let leaf = helper
    for (let generation = 0; generation < 3; generation += 1) leaf = await started(world, zone, token('helper'), { parent: leaf.id })
    const through = { delegation: offer.id, until: helper.expiresAt, reason: null, scopes: { 'bank write': 'allow' } }
    for (const session of [helper, leaf]) {
      const [own, delegated] = await authority('helper', session)
      expect(own?.scopes).toEqual({ 'bank read': 'allow', 'bank write': 'allow', 'shop read': 'allow' })
      expect(delegated).toEqual(through)
    }

    await world.call('POST', zone.path(`/sessions/${owner.id}/suspend`), token('owner'))
    expect((await authority('helper', leaf))[1]).toEqual({ delegation: offer.id, until: null, reason: 'session_suspended', scopes: {} })
    await world.call('POST', zone.path(`/sessions/${owner.id}/resume`), token('owner'))
    // The view hears of the lift a moment later than the row says it.
    await expect.poll(async () => (await authority('helper', leaf))[1]).toEqual(through)
    await world.call('POST', zone.path(`/delegations/${offer.id}/revoke`), token('owner'))
    expect(await authority('helper', leaf)).toHaveLength(1)
  })

  it('of what is over is nothing, and says why', async () => {
    const owner = await started(world, zone, token('owner'), { ttl: 10 })
    world.clock.now += 10_000
    expect(await authority('owner', owner)).toEqual([{ delegation: null, until: null, reason: 'lineage_expired', scopes: {} }])
  })
})
