import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { expectNothingLost } from './ledger.ts'
import { underLoad } from './load.ts'
import { expectRevocationsBite } from './outage.ts'
import { type Stage, startStage } from './stage.ts'

/** In turn, three times: every process there is. */
const VICTIMS = ['sts', 'gateway', 'audit', 'api', 'coordinator', 'redis', 'postgres'] as const
const KILLS = 20

let stage: Stage

beforeAll(async () => {
  stage = await startStage()
})
afterAll(() => stage?.stop())

async function killAndRestart(victim: (typeof VICTIMS)[number]): Promise<void> {
  const server = victim === 'redis' || victim === 'postgres' ? stage[victim] : stage.services.service(victim)
  await server.end('SIGKILL')
  await sleep(Math.random() * 500)
  await server.start()
}

test('[P-094] kill -9 of any process at any instant under load, 20 times: no call was forwarded and no mandate issued without its event; the ledger verifies', async () => {
  const load = await underLoad(stage, async (running) => {
    for (let kill = 0; kill < KILLS; kill++) {
      await sleep(Math.random() * 1_500)
      await killAndRestart(VICTIMS[kill % VICTIMS.length] ?? 'gateway')
      await running.firstGoodCall(performance.now())
    }
  })
  expectRevocationsBite(load)
  const { effects } = await expectNothingLost(stage, load)
  expect(effects).toBeGreaterThan(1_000)
})
