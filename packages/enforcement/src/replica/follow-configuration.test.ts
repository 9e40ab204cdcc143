import { type ConfigMessage, newId, type PolicyMessage, type SyncRequest, type ZoneId, type ZoneSnapshot } from '@caracal/core'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { streamsForTest, type TestStreams, until } from '../test-support/streams-for-test.ts'
import { zoneSnapshot } from '../test-support/zone-for-test.ts'
import { type ConfigurationFollower, type ConfigurationSource, followConfiguration } from './follow-configuration.ts'
import { ReplicaState } from './replica-state.ts'

let store: TestStreams
const followers: ConfigurationFollower[] = []
beforeAll(async () => {
  store = await streamsForTest('postgres')
})
afterEach(async () => {
  for (const follower of followers.splice(0)) await follower.stop()
})
afterAll(() => store.close())

const active = (): NonNullable<ZoneSnapshot['policy']> => ({ setVersion: newId('policySetVersion'), sha256: newId('event'), documents: [] })

/** What is true, shared by replicas; it can be away, and slow. */
function truth(...zones: ZoneSnapshot[]) {
  const held = new Map<ZoneId, ZoneSnapshot>(zones.map((zone) => [zone.id, zone]))
  const seen = { away: false, loads: [] as (readonly ZoneId[] | 'all')[], reports: [] as SyncRequest[], hold: Promise.resolve() }
  const source: ConfigurationSource = {
    snapshot: async (ids) => {
      seen.loads.push(ids ?? 'all')
      await seen.hold
      if (seen.away) throw new Error('away')
      return [...held.values()].filter(({ id }) => ids === undefined || ids.includes(id))
    },
    sync: async (request) => {
      seen.reports.push(request)
      if (seen.away) throw new Error('away')
      const versions = [...held.values()].map(({ id, version, policy }) => [id, { version, policy: policy?.setVersion ?? null }])
      return { v: 1, at: 0, zones: Object.fromEntries(versions) }
    },
  }
  return { held, seen, source }
}

/** A replica whose clock can be turned forward. */
function replica(source: ConfigurationSource) {
  const turned = { ms: 0 }
  const monotonic = () => performance.now() + turned.ms
  const state = new ReplicaState({ monotonic })
  const follower = followConfiguration({ state, streams: store.streams, source, replica: 'gateway-1', role: 'gateway', monotonic })
  followers.push(follower)
  return { state, follower, turn: (ms: number) => (turned.ms += ms) }
}

const changed = ({ id, version }: ZoneSnapshot) => {
  const message: ConfigMessage = { v: 1, zone: id, entity: 'resource', id: 'res_1', version }
  return store.streams.publish('caracal.config', JSON.stringify(message))
}

const activated = ({ id, version, policy }: ZoneSnapshot) => {
  const message: PolicyMessage = {
    v: 1,
    zone: id,
    setVersion: policy?.setVersion ?? newId('policySetVersion'),
    sha256: policy?.sha256 ?? '',
    version,
  }
  return store.streams.publish('caracal.policy', JSON.stringify(message))
}

it('a change reaches every replica by broadcast, before the version check would find it [P-023]', async () => {
  const zone = zoneSnapshot({ policy: active() })
  const { held, source } = truth(zone)
  const replicas = [replica(source), replica(source), replica(source)]
  await Promise.all(replicas.map(({ follower }) => follower.loaded))
  const next = { ...zone, version: 2, policy: active() }
  held.set(zone.id, next)
  const at = performance.now()
  await activated(next)
  await until(() => replicas.every(({ state }) => state.loaded()[zone.id]?.policy === next.policy.setVersion))
  expect(performance.now() - at).toBeLessThan(4_000)
  held.set(zone.id, { ...next, version: 3 })
  await changed({ ...next, version: 3 })
  await until(() => replicas.every(({ state }) => state.loaded()[zone.id]?.version === 3))
})

it('a change without a broadcast is found by the version check, which reports what is loaded [P-023]', async () => {
  const zone = zoneSnapshot({ policy: active() })
  const { held, seen, source } = truth(zone)
  const { state, follower, turn } = replica(source)
  await follower.loaded
  const added = zoneSnapshot({})
  held.set(zone.id, { ...zone, version: 2 })
  held.set(added.id, added)
  turn(5000)
  await until(() => state.loaded()[zone.id]?.version === 2 && state.zone(added.id) !== undefined)
  expect(seen.reports[0]).toMatchObject({
    replica: 'gateway-1',
    role: 'gateway',
    loaded: { [zone.id]: { version: 1, policy: zone.policy?.setVersion } },
  })
  held.delete(added.id)
  turn(5000)
  await until(() => state.zone(added.id) === undefined)
  expect(state.zone(zone.id)).toBeDefined()
})

it('a newer version that cannot be loaded refuses the zone, and only it, until it can [P-024]', async () => {
  const [zone, other] = [zoneSnapshot({ policy: active() }), zoneSnapshot({ policy: active() })]
  const { held, seen, source } = truth(zone, other)
  const { state, follower } = replica(source)
  await follower.loaded
  seen.away = true
  const next = { ...zone, version: 2, policy: active() }
  held.set(zone.id, next)
  await activated(next)
  await until(() => state.zone(zone.id)?.policy.kind === 'failed')
  expect(state.zone(other.id)?.policy.kind).toBe('active')
  expect(state.loaded()[zone.id]).toMatchObject({ version: 1, policy: null, error: 'away' })
  seen.away = false
  await until(() => state.loaded()[zone.id]?.policy === next.policy.setVersion, 2000)
})

it('a source that lags behind its broadcast is asked again', async () => {
  const zone = zoneSnapshot({})
  const { held, seen, source } = truth(zone)
  const { state, follower } = replica(source)
  await follower.loaded
  await changed({ ...zone, version: 2 })
  await until(() => seen.loads.length >= 2)
  expect(state.loaded()[zone.id]?.version).toBe(1)
  held.set(zone.id, { ...zone, version: 2 })
  await until(() => state.loaded()[zone.id]?.version === 2)
})

it('a zone that changes all the time is served as long as each change is loaded within a moment, and none waits for the next look [P-024]', async () => {
  const zone = zoneSnapshot({ policy: active() })
  const { held, seen, source } = truth(zone)
  const { state, follower, turn } = replica(source)
  await follower.loaded
  for (let version = 2; version < 8; version += 1) {
    // Each change is heard of while the one before is being read.
    const gate = Promise.withResolvers<void>()
    seen.hold = gate.promise
    const loads = seen.loads.length
    await changed({ ...zone, version })
    await until(() => seen.loads.length > loads)
    await changed({ ...zone, version: version + 1 })
    turn(600)
    held.set(zone.id, { ...zone, version })
    gate.resolve()
    await until(() => (state.zone(zone.id)?.snapshot.version ?? 0) >= version)
    expect(state.zone(zone.id)?.policy.kind).toBe('active')
  }
})

it('loads are single flight, and messages about what is held cost nothing', async () => {
  const zone = zoneSnapshot({})
  const { held, seen, source } = truth(zone)
  const { state, follower } = replica(source)
  await follower.loaded
  const gate = Promise.withResolvers<void>()
  seen.hold = gate.promise
  held.set(zone.id, { ...zone, version: 2 })
  for (let i = 0; i < 20; i++) await changed({ ...zone, version: 2 })
  const loads = Promise.all(Array.from({ length: 20 }, () => follower.load(zone.id)))
  await until(() => seen.loads.length === 2)
  gate.resolve()
  await loads
  expect(state.loaded()[zone.id]?.version).toBe(2)
  for (let i = 0; i < 5; i++) await changed({ ...zone, version: 2 })
  await until(async () => (await store.streams.tip('caracal.config')) !== '')
  expect(seen.loads).toHaveLength(2)
})

it('what is not known is read anew at most once a second: who comes sooner waits for the next load with the others', async () => {
  const zone = zoneSnapshot({})
  const { seen, source } = truth(zone)
  const { follower, turn } = replica(source)
  await follower.loaded
  await Promise.all(Array.from({ length: 10 }, () => follower.refresh(zone.id)))
  expect(seen.loads).toEqual(['all', [zone.id]])
  await Promise.all(Array.from({ length: 10 }, () => follower.refresh(zone.id)))
  expect(seen.loads).toEqual(['all', [zone.id], [zone.id]])
  turn(1000)
  seen.away = true
  await follower.refresh(zone.id)
  expect(seen.loads).toHaveLength(4)
  await expect(follower.load(zone.id)).rejects.toThrow('away')
})

it('a flushed stream leads to a version check at once [P-057]', async () => {
  const zone = zoneSnapshot({})
  const { held, source } = truth(zone)
  const { state, follower } = replica(source)
  await changed(zone)
  await follower.loaded
  held.set(zone.id, { ...zone, version: 2 })
  await store.flush()
  await until(() => state.loaded()[zone.id]?.version === 2, 4000)
})

it('starts when its source comes up, and is empty before', async () => {
  const zone = zoneSnapshot({})
  const { seen, source } = truth(zone)
  seen.away = true
  const { state, follower } = replica(source)
  await until(() => seen.loads.length >= 2)
  expect(state.standing()).toBe('empty')
  seen.away = false
  await follower.loaded
  expect(state.standing()).toBe('current')
})

it('asked to confirm, it holds what the source names, or says that the source does not answer [4-16]', async () => {
  const zone = zoneSnapshot({ policy: active() })
  const { held, seen, source } = truth(zone)
  const { state, follower } = replica(source)
  await follower.loaded
  const reports = seen.reports.length
  held.set(zone.id, { ...zone, version: 2 })
  expect(await Promise.all(Array.from({ length: 20 }, () => follower.confirm()))).toEqual(Array(20).fill(true))
  expect(state.zone(zone.id)?.snapshot.version).toBe(2)
  // Who asks together is answered together.
  expect(seen.reports.length - reports).toBeLessThan(4)
  seen.away = true
  expect([await follower.confirm(), state.doubted()]).toEqual([false, true])
  seen.away = false
  expect([await follower.confirm(), state.doubted()]).toEqual([true, false])
})
