import { setTimeout as sleep } from 'node:timers/promises'
import { freshDatabaseUrl } from '@caracal/harness'
import { readEntries } from '@caracal/postgres'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openSwitch, type Switch } from '../test-support/switch.ts'
import { event, openWorld, until, type World } from '../test-support/world.ts'

let world: World
let wire: Switch
beforeAll(async () => {
  wire = await openSwitch(await freshDatabaseUrl())
  world = await openWorld('redis', { url: wire.url, environment: { INGEST_BATCH: '32' } })
})
afterAll(async () => {
  wire?.mend()
  await world?.close()
  await wire?.close()
})

test('[P-113] while Postgres is away reading pauses, no try is counted and nothing is set aside; when it is back everything is taken', async () => {
  const zone = (await world.zone()).id
  await world.send(Array.from({ length: 500 }, () => event(zone)))
  await world.grown(zone, 100)
  wire.cut()
  await world.send(Array.from({ length: 500 }, () => event(zone)))
  // Longer than eight tries would take here.
  await sleep(6_000)
  const { quarantined, lag } = await world.streams.health('caracal.audit.events')
  expect(quarantined).toBe(0)
  expect(lag).toBeGreaterThanOrEqual(500)
  const health = await (await fetch(`${world.audit().address.url}/health`)).json()
  expect(health).toMatchObject({ status: 'degraded', checks: { postgres: 'failing' } })
  // Its own refusal, in the dependency's name.
  const search = await world.get(`/v1/zones/${zone}/events`)
  expect([search.status, ((await search.json()) as { code: string }).code]).toEqual([503, 'store_unavailable'])

  wire.mend()
  await world.grown(zone, 1_000, 15_000)
  await until(10_000, async () => (await world.streams.health('caracal.audit.events')).lag === 0, 'an empty stream')
  expect((await world.streams.health('caracal.audit.events')).quarantined).toBe(0)
  expect(new Set((await readEntries(world.database.query, zone, 0, 2_000)).map(({ id }) => id)).size).toBe(1_000)
  await until(5_000, async () => (await (await fetch(`${world.audit().address.url}/ready`)).status) === 200, 'readiness')
  const answer = await world.get(`/v1/zones/${zone}/log/checkpoint`)
  await until(
    2_000,
    async () => Number((await (await world.get(`/v1/zones/${zone}/log/checkpoint`)).text()).split('\n')[1]) >= 1_000,
    'a checkpoint',
  )
  expect(answer.status).toBe(200)
}, 60_000)
