import { startPostgres, startRedis } from '@caracal/harness'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { openWorld } from './test-support/world.ts'

const POLICY = 'kind: Policy\nname: all\nrules:\n  - { id: all, allow: ["*"], on: ["*"], for: { any: true } }\n'

async function worldWithMint(environment: Record<string, string> = {}) {
  const postgres = await startPostgres()
  const redis = await startRedis()
  const world = await openWorld({ driver: 'redis', databaseUrl: postgres.url, redisUrl: redis.url, environment })
  const zone = await world.zone()
  const agent = await world.application(zone.id)
  const peer = await world.application(zone.id)
  const resource = await world.resource(zone.id)
  await world.policy(zone.id, POLICY)
  const from = await world.session(peer)
  const session = await world.session(agent)
  const delegation = await world.delegation(from, session, [{ resource: resource.id, scopes: ['read'] }])
  const mint = (change: Record<string, string> = {}) => world.ask(agent, { resource: resource.identifier, scope: 'read', ...change })
  const delegated = () => mint({ session: session.id, delegation: delegation.id })
  return { postgres, redis, world, zone, mint, delegated }
}

describe('without its stores', () => {
  let on: Awaited<ReturnType<typeof worldWithMint>>
  beforeAll(async () => {
    on = await worldWithMint({ REVOCATION_MAX_AGE: '4s' })
  })
  afterAll(async () => {
    await on?.world.close()
    await on?.postgres.stop()
    await on?.redis.stop()
  })

  it('[P-164] a mint in the steady state sends no statement', async () => {
    await on.delegated()
    const deltas: number[] = []
    for (let round = 0; round < 10; round += 1) {
      const before = on.world.database.statements()
      const all = await Promise.all(Array.from({ length: 20 }, (_, at) => (at % 2 === 0 ? on.delegated() : on.mint())))
      expect(all.every(({ status }) => status === 200)).toBe(true)
      deltas.push(on.world.database.statements() - before)
    }
    // Probes and the comparison of versions run beside it, each second and each five: rounds between them show what mints cost.
    expect(Math.min(...deltas)).toBe(0)
    expect(deltas.reduce((a, b) => a + b, 0)).toBeLessThan(20)
  })

  it('[P-164] [P-013] Postgres gone, the broadcast proves the view fresh and mints go on; key sets too', async () => {
    await on.delegated()
    await on.postgres.stop()
    const until = Date.now() + 6_000
    while (Date.now() < until) {
      expect((await on.mint()).status).toBe(200)
      expect((await on.delegated()).status).toBe(200)
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    expect((await on.mint({ session: 'ses_01h455vb4pex5vsknk084sn02q' })).code).toBe('store_unavailable')
    expect((await fetch(`${on.world.sts.address.url}/zones/${on.zone.id}/jwks.json`)).status).toBe(200)
    expect(await (await fetch(`${on.world.sts.address.url}/health`)).json()).toMatchObject({ status: 'degraded' })
    expect((await fetch(`${on.world.sts.address.url}/ready`)).status).toBe(200)
  })

  it('[P-174] Redis gone too, mints go on until the freshness bound, then 503 and not ready', async () => {
    await on.redis.stop()
    expect((await on.mint()).status).toBe(200)
    await vi.waitFor(async () => expect(await on.mint()).toMatchObject({ status: 503, code: 'revocation_view_stale' }), {
      timeout: 8_000,
      interval: 100,
    })
    await vi.waitFor(async () => {
      const ready = await fetch(`${on.world.sts.address.url}/ready`)
      expect([ready.status, await ready.json()]).toMatchObject([503, { reasons: expect.arrayContaining(['revocation_view_stale']) }])
    }, 4_000)
    expect((await fetch(`${on.world.sts.address.url}/livez`)).status).toBe(200)
  })
})
