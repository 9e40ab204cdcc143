import { afterAll, beforeAll, expect, test } from 'vitest'
import { expectNothingLost, quarantined } from './ledger.ts'
import { startLoad } from './load.ts'
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
  '[P-056] [P-098] [P-113] [P-175] Redis away for 30 s under load, $how: nothing is lost, nothing is decided on stale revocation, it recovers without a restart',
  async ({ leave, back }) => {
    const sameProcesses = notRestarted(stage)
    const load = startLoad(stage)
    await load.firstGoodCall(performance.now())
    const held = await load.hold()
    const gap = await takeAway(load, { leave, back }, async () => {
      // Nobody can hear of what is revoked now: five seconds later nobody acts any more, and the balancer is told.
      expect(await load.revoke(held)).toBe(200)
      await untilUnready(stage, 'gateway', 'revocation_view_stale')
      await untilUnready(stage, 'sts', 'revocation_view_stale')
      const stale = performance.now()
      await untilTried(load, stale, 'mint', 20)
      expect(codesSince(load, stale, 'mint')).toEqual(['revocation_view_stale'])
      expect(await load.call(held)).toBe('revocation_view_stale')
      process.stderr.write(`${JSON.stringify(load.tally(stale))}\n`)
    })
    process.stderr.write(`first good call after ${Math.round(gap)} ms\n`)
    expect(gap, 'milliseconds until the first good call').toBeLessThan(10_000)
    expect(await load.call(held)).toBe('token_revoked')
    await untilAllReady(stage)
    await load.stop()
    sameProcesses()
    expectRevocationsBite(load)
    await expectNothingLost(stage, load)
    expect(await quarantined(stage)).toEqual([])
  },
)
