import { afterAll, beforeAll, expect, test } from 'vitest'
import { expectNothingLost, quarantined } from './ledger.ts'
import { underLoad } from './load.ts'
import { codesSince, expectRevocationsBite, notRestarted, takeAway, untilAllReady, untilTried } from './outage.ts'
import { type Stage, startStage } from './stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage()
})
afterAll(() => stage?.stop())

test.each([
  { how: 'stopped', leave: () => stage.postgres.end('SIGINT'), back: () => stage.postgres.start() },
  { how: 'hanging', leave: async () => stage.postgres.signal('SIGSTOP'), back: async () => stage.postgres.signal('SIGCONT') },
])(
  '[P-113] [P-116] [P-118] Postgres away for 30 s under load, $how: mints and calls go on, changes are refused, nothing is lost or set aside, it recovers without a restart',
  async ({ leave, back }) => {
    const sameProcesses = notRestarted(stage)
    const load = await underLoad(stage, async (load) => {
      const held = await load.hold()
      const revoked = await load.hold()
      // Answered a moment before: nobody can read it in Postgres any more, and it bites all the same.
      expect(await load.revoke(revoked)).toBe(200)
      const gap = await takeAway(load, { leave, back }, async () => {
        const away = performance.now()
        await untilTried(load, away, 'revocation', 3)
        await untilTried(load, away, 'session', 3)
        await untilTried(load, away, 'call', 50)
        expect(await load.call(held)).toBe('allowed')
        expect(codesSince(load, away, 'session')).toContain('store_unavailable')
        expect(codesSince(load, away, 'revocation')).toContain('store_unavailable')
        // A fault that all replicas share must not take them all away.
        expect((await stage.services.service('sts').ready()).status).toBe(200)
        expect((await stage.services.service('gateway').ready()).status).toBe(200)
      })
      process.stderr.write(`first good call after ${Math.round(gap)} ms\n`)
      expect(gap, 'milliseconds until the first good call').toBeLessThan(10_000)
      await untilAllReady(stage)
      expect(await load.revoke(held)).toBe(200)
    })
    sameProcesses()
    expectRevocationsBite(load)
    expect(await load.tally()).not.toHaveProperty('call policy_unavailable')
    await expectNothingLost(stage, load)
    expect(await quarantined(stage)).toEqual([])
  },
)
