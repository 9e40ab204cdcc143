import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { expectNothingLost, missingEvidence } from './ledger.ts'
import { startLoad } from './load.ts'
import { type Stage, startStage } from './stage.ts'

let stage: Stage

beforeAll(async () => {
  // Calls that are in flight when the Gateway is asked to stop are so for a while; the balancer is given time to notice.
  stage = await startStage({ replicas: { sts: 2, gateway: 2 }, upstreamDelay: 300, environment: { DRAIN_DELAY: '1s' } })
})
afterAll(() => stage?.stop())

test('[P-145] SIGTERM under load: no call in flight fails, the process ends with 0, its spool is drained', async () => {
  for (const name of ['gateway', 'sts', 'gateway-2', 'sts-2']) {
    const load = startLoad(stage, { clients: 8, administration: false })
    await load.firstGoodCall(performance.now())
    const service = stage.services.service(name)
    const asked = performance.now()
    expect(await service.end('SIGTERM'), name).toBe(0)
    await load.firstGoodCall(performance.now())
    await load.stop()
    const inFlight = load.attempts.filter(({ began, ended }) => began <= asked && ended >= asked)
    expect(inFlight.length).toBeGreaterThan(0)
    const failed = load.attempts.filter(({ code }) => code !== '200')
    expect(failed, `attempts that failed while ${name} stopped`).toEqual([])
    // It does not run: what it decided is in the ledger all the same.
    await expect.poll(async () => await missingEvidence(stage, load), { interval: 1_000 }).toEqual([])
    await service.start()
    await sleep(100)
  }
  await expectNothingLost(stage)
})
