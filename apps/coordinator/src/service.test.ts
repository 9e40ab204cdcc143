import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { COORDINATOR_TOKEN, member, openWorld, started, type TestZone, type World } from './test-support/world.ts'

describe.each(['embedded', 'server'] as const)('the coordinator on a Postgres that is %s', (kind) => {
  let world: World
  let zone: TestZone
  beforeAll(async () => {
    world = await openWorld(kind)
    zone = await world.zone({ applications: ['agent'] })
  })
  afterAll(() => world?.close())

  it('starts, suspends, resumes and ends a session with its subtree', async () => {
    const token = zone.token(member(zone.applications, 'agent'))
    const root = await started(world, zone, token, { labels: ['batch'] })
    expect(root).toMatchObject({ kind: 'task', parent: null, state: 'active', standing: 'active', labels: ['batch'], lease: null })
    expect(root.expiresAt).toBe(world.clock.now + 3_600_000)
    const child = await started(world, zone, token, { parent: root.id, ttl: 7200 })
    expect(child.expiresAt).toBe(root.expiresAt)

    for (const [act, state] of [
      ['suspend', 'suspended'],
      ['resume', 'active'],
      ['end', 'ended'],
    ] as const) {
      const answered = await world.call('POST', zone.path(`/sessions/${root.id}/${act}`), token)
      expect(answered.body).toMatchObject({ id: root.id, state, standing: state })
      const below = await world.call('GET', zone.path(`/sessions/${child.id}`), COORDINATOR_TOKEN)
      expect(below.body).toMatchObject({ state, standing: state })
    }
    const tree = await world.call('GET', zone.path(`/sessions/${root.id}/tree`), token)
    expect(tree.body.items.map((one: { id: string }) => one.id).sort()).toEqual([child.id, root.id].sort())
  })

  it('is ready, tells its metrics, and publishes what its transactions left in the outbox', async () => {
    await world.service.probes.refresh()
    expect(world.service.probes.ready()).toEqual({ ready: true, reasons: [] })
    const metrics = await fetch(`${world.service.metricsAddress?.url}/metrics`)
    expect(await metrics.text()).toMatch(/caracal_zones_loaded 1\b/)
    await expect.poll(async () => (await world.database.query.selectFrom('outbox').select('id').execute()).length).toBe(0)
  })
})
