import { afterAll, beforeAll, expect, test } from 'vitest'
import { expectNothingLost } from './ledger.ts'
import { type Load, startLoad } from './load.ts'
import { codesSince, expectRevocationsBite, takeAway, untilAllReady, untilTried } from './outage.ts'
import { type Stage, startStage } from './stage.ts'

/** Longer than REVOCATION_MAX_AGE: nobody lives on what he heard from the process that is gone. */
const AWAY_MS = 10_000

let stage: Stage
let load: Load

beforeAll(async () => {
  stage = await startStage()
  load = startLoad(stage)
  await load.firstGoodCall(performance.now())
})
afterAll(() => stage?.stop())

/** Kills a role for ten seconds; `meanwhile` is asked with the time it left. */
async function without(role: string, meanwhile: (left: number) => Promise<void>): Promise<void> {
  const service = stage.services.service(role)
  const left = performance.now()
  const outage = { leave: () => service.end('SIGKILL'), back: () => service.start(), forMs: AWAY_MS }
  const gap = await takeAway(load, outage, () => meanwhile(left))
  process.stderr.write(`${role}: first good call after ${Math.round(gap)} ms\n`)
  expect(gap, 'milliseconds until the first good call').toBeLessThan(10_000)
  await untilAllReady(stage)
}

const readyOf = (role: string) => stage.services.service(role).ready()

test('[P-146] the STS away: calls with mandates that are out go on and revocations bite, nobody gets a new mandate', async () => {
  const held = await load.hold()
  const revoked = await load.hold()
  await without('sts', async (left) => {
    await untilTried(load, left, 'mint', 50)
    expect(codesSince(load, left + 100, 'mint')).toEqual(['broken'])
    expect(await load.revoke(revoked)).toBe(200)
    for (let tries = 0; tries < 50; tries++) expect(await load.call(held)).toBe('allowed')
    await expect.poll(() => load.call(revoked)).toBe('token_revoked')
    expect(await readyOf('gateway')).toEqual({ status: 200, reasons: [] })
  })
})

test('[P-146] Audit away: mints and calls go on, their evidence waits in the stream and is in the ledger afterwards', async () => {
  await without('audit', async (left) => {
    await untilTried(load, left, 'call', 50)
    await untilTried(load, left, 'session', 5)
    for (const what of ['mint', 'session', 'revocation'] as const) {
      expect(
        codesSince(load, left + 100, what).filter((code) => !/^20[01]$/.test(code)),
        what,
      ).toEqual([])
    }
    expect(await readyOf('gateway')).toEqual({ status: 200, reasons: [] })
    expect(await readyOf('sts')).toEqual({ status: 200, reasons: [] })
  })
})

test('[P-146] the Coordinator away: no session begins or ends, mints and calls go on, also of sessions that live', async () => {
  await without('coordinator', async (left) => {
    await untilTried(load, left, 'call', 50)
    await untilTried(load, left, 'session', 5)
    expect(codesSince(load, left + 100, 'session')).toEqual(['broken'])
    expect(codesSince(load, left + 100, 'mint')).toEqual(['200'])
    expect(await readyOf('sts')).toEqual({ status: 200, reasons: [] })
  })
})

test('[P-146] the API away: nothing is administered or revoked, mints and calls go on', async () => {
  await without('api', async (left) => {
    await untilTried(load, left, 'call', 50)
    await untilTried(load, left, 'revocation', 3)
    expect(codesSince(load, left + 100, 'revocation')).toEqual(['broken'])
    expect(codesSince(load, left + 100, 'mint')).toEqual(['200'])
    expect(codesSince(load, left + 100, 'session').filter((code) => !/^20[01]$/.test(code))).toEqual([])
  })
})

test('[P-146] the Gateway away: no call reaches the upstream, mints go on', async () => {
  await without('gateway', async (left) => {
    await untilTried(load, left, 'call', 50)
    expect(codesSince(load, left + 100, 'call')).toEqual(['broken'])
    expect(codesSince(load, left + 100, 'mint')).toEqual(['200'])
  })
})

test('after all of it: every effect has its evidence, once', async () => {
  await load.stop()
  expectRevocationsBite(load)
  await expectNothingLost(stage, load)
})
