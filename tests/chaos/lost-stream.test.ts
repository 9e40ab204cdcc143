import { setTimeout as sleep } from 'node:timers/promises'
import { type RedisServer, startRedis } from '@caracal/harness'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { expectNothingLost, missingEvidence } from './ledger.ts'
import { underLoad } from './load.ts'
import { expectRevocationsBite, notRestarted, untilAllReady } from './outage.ts'
import { type Stage, startStage } from './stage.ts'

let stage: Stage
let replica: RedisServer | undefined

beforeAll(async () => {
  stage = await startStage()
})
afterAll(async () => {
  await replica?.stop()
  await stage?.stop()
})

async function tell(server: RedisServer, ...command: [string, ...string[]]): Promise<unknown> {
  const client = new Redis(server.url)
  try {
    return await client.call(...command)
  } finally {
    client.disconnect()
  }
}

test('[P-099] [P-114] Redis is flushed under load with a backlog that it had acknowledged: everything reaches the ledger, no revocation is forgotten', async () => {
  const load = await underLoad(stage, async (load) => {
    const held = await load.hold()
    // Without its consumer the stream fills.
    await stage.services.service('audit').end('SIGKILL')
    expect(await load.revoke(held)).toBe(200)
    await sleep(3_000)
    await tell(stage.redis, 'FLUSHALL')
    await sleep(1_000)
    await stage.services.service('audit').start()
    expect(await load.call(held)).toBe('token_revoked')
    await load.firstGoodCall(performance.now())
  })
  expectRevocationsBite(load)
  await expectNothingLost(stage, load)
})

test('[P-099] [P-114] Redis fails over to a replica that is seconds behind: everything reaches the ledger, without a restart', async () => {
  const sameProcesses = notRestarted(stage)
  const behind = await startRedis({ durable: true, args: ['--replicaof', '127.0.0.1', String(stage.redis.port)] })
  replica = behind
  await expect.poll(async () => String(await tell(behind, 'INFO', 'replication'))).toContain('master_link_status:up')
  const load = await underLoad(stage, async (load) => {
    await sleep(1_000)
    behind.signal('SIGSTOP')
    await sleep(2_000)
    await stage.redis.end('SIGKILL')
    behind.signal('SIGCONT')
    await tell(behind, 'REPLICAOF', 'NO', 'ONE')
    await tell(behind, 'CONFIG', 'SET', 'port', String(stage.redis.port))
    await load.firstGoodCall(performance.now())
    await sleep(1_000)
  })
  await untilAllReady(stage)
  sameProcesses()
  expectRevocationsBite(load)
  expect(await missingEvidence(stage, load)).toBeDefined()
  await expectNothingLost(stage, load)
})
