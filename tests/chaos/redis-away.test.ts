import { afterAll, beforeAll, expect, test } from 'vitest'
import { expectNothingLost } from './ledger.ts'
import { underLoad } from './load.ts'
import { codesSince, expectRevocationsBite, notRestarted, takeAway, untilAllReady, untilTried, untilUnready } from './outage.ts'
import { type Stage, startStage } from './stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage()
})
afterAll(() => stage?.stop())

test.each([
  { how: 'stopped', leave: () => stage.redis.end('SIGTERM'), back: () => stage.redis.start() },
  { how: 'hanging', leave: async () => stage.redis.signal('SIGSTOP'), back: async () => stage.redis.signal('SIGCONT') },
])(
  '[P-055] [P-098] [P-113] [P-175] Redis away for 30 s under load, $how: single use is refused, everything else goes on, revocations bite, nothing is lost, it recovers without a restart',
  async ({ leave, back }) => {
    const sameProcesses = notRestarted(stage)
    const load = await underLoad(stage, async (load) => {
      const held = await load.hold()
      const revoked = await load.hold()
      const gap = await takeAway(load, { leave, back }, async () => {
        const away = performance.now()
        // Nobody hears of it through the stream: it is asked for, each second.
        expect(await load.revoke(revoked)).toBe(200)
        await expect.poll(() => load.call(revoked)).toBe('token_revoked')
        await untilTried(load, away, 'session', 10)
        // Who asks a store that hangs is answered when its patience ends.
        await expect.poll(() => codesSince(load, away, 'call')).toContain('store_unavailable')
        await untilTried(load, away, 'call', 50)
        expect(await load.call(held)).toBe('allowed')
        expect(codesSince(load, away, 'call')).toEqual(['200', 'store_unavailable', 'token_revoked'])
        expect(codesSince(load, away, 'mint')).toEqual(['200'])
        expect(codesSince(load, away, 'session')).toEqual(['200', '201'])
        expect(codesSince(load, away, 'revocation')).toEqual(['200'])
        for (const role of ['sts', 'gateway', 'api', 'audit', 'coordinator']) {
          expect(await stage.services.service(role).ready(), role).toEqual({ status: 200, reasons: [] })
        }
      })
      process.stderr.write(`first good call after ${Math.round(gap)} ms\n`)
      expect(gap, 'milliseconds until the first good call').toBeLessThan(10_000)
      await untilAllReady(stage)
    })
    sameProcesses()
    expectRevocationsBite(load)
    await expectNothingLost(stage, load)
  },
)

test('[P-056] [P-175] Redis and Postgres away together: nobody can show that nothing was revoked, and five seconds later nobody acts; then it goes on without a restart', async () => {
  const sameProcesses = notRestarted(stage)
  const load = await underLoad(stage, async (load) => {
    const held = await load.hold()
    const stores = [stage.redis, stage.postgres]
    const leave = async () => stores.forEach((store) => void store.signal('SIGSTOP'))
    const back = async () => stores.forEach((store) => void store.signal('SIGCONT'))
    const gap = await takeAway(load, { leave, back, forMs: 12_000 }, async () => {
      for (const role of ['gateway', 'sts']) await untilUnready(stage, role, 'revocation_view_stale')
      const stale = performance.now()
      await untilTried(load, stale, 'mint', 20)
      expect(codesSince(load, stale, 'mint')).toEqual(['revocation_view_stale'])
      expect(await load.call(held)).toBe('revocation_view_stale')
      // What a load has revoked itself is still known to be revoked.
      const refused = codesSince(load, stale, 'call').filter((code) => code !== 'token_revoked')
      expect(refused).toEqual(['revocation_view_stale'])
    })
    process.stderr.write(`first good call after ${Math.round(gap)} ms\n`)
    expect(gap, 'milliseconds until the first good call').toBeLessThan(10_000)
    await untilAllReady(stage)
    expect(await load.call(held)).toBe('allowed')
  })
  sameProcesses()
  await expectNothingLost(stage, load)
})
