import { randomBytes } from 'node:crypto'
import { keyRing, newId, type Revocation } from '@caracal/core'
import { startRedis } from '@caracal/harness'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { announceRevocations } from './announce-revocations.ts'
import { SILENT } from './conformance/drivers.ts'
import { openStreams } from './open-streams.ts'
import type { Streams } from './streams.ts'

let server: Awaited<ReturnType<typeof startRedis>>
let streams: Streams
let redis: Redis
beforeAll(async () => {
  server = await startRedis()
  streams = openStreams({ driver: 'redis', url: server.url, keys: keyRing(randomBytes(32)), logger: SILENT })
  redis = new Redis(server.url)
})
afterAll(async () => {
  redis?.disconnect()
  await streams?.close()
  await server?.stop()
})

const revocation = (): Revocation => {
  const [zone, id] = [newId('zone'), newId('session')]
  return { v: 1, op: 'revoke', kind: 'session', id, zone, at: Date.now(), reason: 'ended' }
}

/** Calls of every command, but those that ask for them. */
async function commands(): Promise<ReadonlyMap<string, number>> {
  const text = await redis.info('commandstats')
  const counted = [...text.matchAll(/cmdstat_([a-z|_]+):calls=(\d+)/g)].map(([, name, calls]) => [name ?? '', Number(calls)] as const)
  return new Map(counted.filter(([name]) => !/^(info|client|hello|ping|eval|config)/.test(name)))
}

async function costOfAnnouncing(many: number): Promise<Readonly<Record<string, number>>> {
  const before = await commands()
  for (let at = 0; at < many; at += 1) await announceRevocations(streams, [revocation()])
  const after = await commands()
  return Object.fromEntries([...after].map(([name, calls]) => [name, calls - (before.get(name) ?? 0)]).filter(([, calls]) => calls !== 0))
}

test('[P-177] a revocation is as many commands to Redis with no mandate and with what a million leave there', async () => {
  await costOfAnnouncing(1)
  const none = await costOfAnnouncing(50)
  // Claims of single-use mandates, as many as live at once.
  await redis.eval("for n = 1, 100000 do redis.call('SET', 'once:mnd_' .. n, 'gateway', 'PX', 600000) end", 0)
  const before = await redis.dbsize()
  expect(before).toBeGreaterThan(100_000)
  const million = await costOfAnnouncing(50)
  expect(million).toEqual(none)
  expect(await redis.dbsize()).toBe(before)
})
