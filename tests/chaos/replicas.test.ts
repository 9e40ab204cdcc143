import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { expectNothingLost, missingEvidence } from './ledger.ts'
import { underLoad } from './load.ts'
import { expectRevocationsBite, untilAllReady } from './outage.ts'
import { type Stage, startStage } from './stage.ts'

const REPLICAS = ['sts', 'gateway', 'audit', 'sts-2', 'gateway-2', 'audit-2'] as const

let stage: Stage

beforeAll(async () => {
  stage = await startStage({ replicas: { sts: 2, gateway: 2, audit: 2 } })
})
afterAll(() => stage?.stop())

test('[P-102] [P-114] [P-175] two STS, two Gateways, two Audit consumers, each killed in turn under load: the others serve on, who tries again loses nothing, one log without a fork', async () => {
  const load = await underLoad(stage, async (load) => {
    for (const name of REPLICAS) {
      const service = stage.services.service(name)
      await service.end('SIGKILL')
      const without = performance.now()
      await load.firstGoodCall(without)
      await sleep(1_000)
      await service.start()
    }
    await untilAllReady(stage)
  })
  expect(load.told.gaveUp, 'work that was given up').toEqual([])
  expectRevocationsBite(load)
  await expectNothingLost(stage, load)
})

test('[P-145] a Gateway that is taken away with a backlog leaves it on its volume: it drains when it comes back, or when another takes the directory over', async () => {
  const [first, second] = [stage.services.service('gateway'), stage.services.service('gateway-2')]
  for (const ending of ['SIGTERM', 'SIGKILL'] as const) {
    const load = await underLoad(
      stage,
      async () => {
        // While the stream store is away evidence waits on the volumes; calls go on as long as freshness can be shown.
        await stage.redis.end('SIGTERM')
        await sleep(2_000)
        await second.end(ending)
      },
      { administration: false },
    )
    await stage.redis.start()
    // The first one sends what it has; what the second one has waits with it.
    await expect.poll(async () => (await missingEvidence(stage, load)).length, { interval: 1_000 }).toBeGreaterThan(0)
    await sleep(3_000)
    expect((await missingEvidence(stage, load)).length, 'evidence on the volume of who is gone').toBeGreaterThan(0)
    if (ending === 'SIGTERM') await second.start()
    else {
      await first.end('SIGTERM')
      await first.start({ SPOOL_DIR: second.spool })
    }
    await expect.poll(async () => (await missingEvidence(stage, load)).length, { interval: 1_000 }).toBe(0)
    await expectNothingLost(stage, load)
  }
})
