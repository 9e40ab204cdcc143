import { newId, type Revocation } from '@caracal/core'
import { createZone, lift, revocationsSince, revoke } from '@caracal/postgres'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { streamsForTest, type TestStreams, until } from '../test-support/streams-for-test.ts'
import { followRevocations, type RevocationFollower } from './follow-revocations.ts'
import { type RevocationSource, snapshotAtTip } from './revocation-source.ts'
import { type Cut, REVOCATION_RETENTION, RevocationView } from './revocation-view.ts'

const zone = newId('zone')

describe.each(['postgres', 'redis'] as const)('following revocations over %s', (driver) => {
  let store: TestStreams
  let follower: RevocationFollower | null = null
  beforeAll(async () => {
    store = await streamsForTest(driver)
    await createZone(store.database.query, { id: zone, name: 'main', labels: [] }, Date.now())
  })
  afterEach(async () => {
    await follower?.stop()
    follower = null
  })
  afterAll(() => store.close())

  const row = (target: string) => ({ id: newId('revocation'), zone, kind: 'session', target, reason: 'test', by: 'test' }) as const
  const write = (target: string) => revoke(store.database.query, row(target), Date.now())
  const message = (id: string, op: Revocation['op'] = 'revoke'): Revocation => ({
    v: 1,
    op,
    kind: 'session',
    id,
    zone,
    at: Date.now(),
    reason: 'test',
  })
  const publish = (revocation: Revocation) => store.streams.publish('caracal.revocations', JSON.stringify(revocation))

  /** A follower whose clock can be turned forward, over a source that can be switched off. */
  function follow(over: Partial<RevocationSource> = {}) {
    const turned = { ms: 0 }
    const monotonic = () => performance.now() + turned.ms
    const view = new RevocationView({ monotonic })
    const seen = { snapshots: 0, polls: 0, away: false, errors: [] as string[] }
    const read = (since: number) => {
      if (seen.away) throw new Error('away')
      return revocationsSince(store.database.query, since)
    }
    const source: RevocationSource = {
      snapshot: () => {
        seen.snapshots++
        return snapshotAtTip(store.streams, async () => await read(Date.now() - REVOCATION_RETENTION * 1000))
      },
      since: async (at) => {
        seen.polls++
        return { at: Date.now(), revocations: await read(at) }
      },
      ...over,
    }
    const follower = followRevocations({ view, streams: store.streams, source, monotonic, onError: (what) => seen.errors.push(what) })
    return { view, follower, seen, turn: (ms: number) => (turned.ms += ms) }
  }

  it('what was revoked before, while and after the snapshot is read is in the view [P-057]', async () => {
    const [before, during, after] = [newId('session'), newId('session'), newId('session')]
    await write(before)
    const started = follow({
      snapshot: () =>
        snapshotAtTip(store.streams, async () => {
          const entries = await revocationsSince(store.database.query, 0)
          await publish(message(during))
          return entries
        }),
    })
    follower = started.follower
    await follower.joined
    await publish(message(after))
    await until(() => [before, during, after].every((id) => started.view.isRevoked([id]) === id))
    expect(started.view.unfit()).toBeNull()
    expect(started.view.position()).not.toBe('')
  })

  it('cuts running streams when the message comes, also idle ones [P-059]', async () => {
    const { view, follower: f } = follow()
    follower = f
    await f.joined
    const id = newId('session')
    const cut = Promise.withResolvers<Cut>()
    view.watch([id], cut.resolve)
    const revokedAt = performance.now()
    await publish(message(id))
    expect(await cut.promise).toEqual({ reason: 'token_revoked', id })
    expect(performance.now() - revokedAt).toBeLessThan(5_000)
  })

  it('heartbeats alone keep the view fresh [P-056]', async () => {
    const heartbeat = store.streams.heartbeat('caracal.revocations')
    const { view, follower: f, seen, turn } = follow()
    follower = f
    await f.joined
    seen.away = true
    for (const _ of [1, 2]) {
      // Each turn alone is within bounds, two without a heartbeat between them are not.
      await new Promise((resolve) => setTimeout(resolve, 1300))
      turn(4000)
      expect(view.unfit()).toBeNull()
    }
    await heartbeat.stop()
  })

  it('a silent broadcast is replaced by polls, which revoke and lift [P-056]', async () => {
    const { view, follower: f, seen } = follow()
    follower = f
    await f.joined
    const id = newId('session')
    await write(id)
    await until(() => view.isRevoked([id]) === id)
    expect(seen.polls).toBeGreaterThan(0)
    await lift(store.database.query, { zone, kind: 'session', target: id, by: 'test' }, Date.now() + 5)
    await until(() => view.isRevoked([id]) === null)
    expect(view.unfit()).toBeNull()
  })

  it('goes stale when both paths are gone, cuts streams, and recovers by itself [P-056]', async () => {
    const { view, follower: f, seen, turn } = follow()
    follower = f
    await f.joined
    seen.away = true
    const cuts: Cut[] = []
    view.watch(['ses_x'], (why) => cuts.push(why))
    turn(6000)
    await until(() => view.unfit() === 'stale' && cuts.length === 1)
    expect(cuts).toEqual([{ reason: 'revocation_view_stale' }])
    await until(() => seen.errors.includes('poll'))
    seen.away = false
    await until(() => view.unfit() === null, 3000)
  })

  it('a flushed stream is noticed and everything is loaded anew [P-057]', async () => {
    const { view, follower: f, seen } = follow()
    follower = f
    await f.joined
    const [lost, later] = [newId('session'), newId('session')]
    await publish(message(newId('session')))
    await until(() => view.size() > 0)
    const loads = seen.snapshots
    await write(lost)
    await store.flush()
    await publish(message(later))
    await until(() => seen.snapshots > loads && view.isRevoked([lost]) === lost)
    const last = newId('session')
    await publish(message(last))
    await until(() => view.isRevoked([last]) === last)
    expect(view.unfit()).toBeNull()
  })

  it('starts when its source comes up, and vouches for nothing before', async () => {
    let away = true
    const {
      view,
      follower: f,
      seen,
    } = follow({
      snapshot: () => (away ? Promise.reject(new Error('away')) : snapshotAtTip(store.streams, async () => [])),
    })
    follower = f
    await until(() => seen.errors.includes('load'))
    expect(view.unfit()).toBe('not_loaded')
    away = false
    await f.joined
    expect(view.unfit()).toBeNull()
  })

  it('[P-055] each revocation is measured once, from its transaction until it is refused here', async () => {
    const { view, follower: f } = follow()
    follower = f
    await f.joined
    const took: number[] = []
    f.measure((seconds) => took.push(seconds))
    const [early, late, last] = [newId('session'), newId('session'), newId('session')]
    await publish({ ...message(early), at: Date.now() - 3_000 })
    await publish({ ...message(early), at: Date.now() - 3_000 }) // published again: it was refused already
    await publish({ ...message(late), at: Date.now() + 60_000 }) // a clock that is ahead
    await publish(message(newId('session'), 'lift'))
    await publish(message(last))
    await until(() => view.isRevoked([last]) === last)
    expect(took).toHaveLength(3)
    expect(took[0]).toBeGreaterThanOrEqual(3)
    expect(took[1]).toBe(0)
    expect(took[2]).toBeLessThan(30)
  })

  it('a message that is none is reported, and the next one counts', async () => {
    const { view, follower: f, seen } = follow()
    follower = f
    await f.joined
    const id = newId('session')
    for (const bad of ['{', 'null', '{"v":2}', JSON.stringify({ ...message(id), kind: 'nonsense' })])
      await store.streams.publish('caracal.revocations', bad)
    await publish(message(id))
    await until(() => view.isRevoked([id]) === id)
    expect(seen.errors.filter((what) => what === 'message')).toHaveLength(4)
  })
})
