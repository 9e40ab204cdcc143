import { randomBytes } from 'node:crypto'
import { keyRing } from '@caracal/core'
import { type RedisServer, startRedis } from '@caracal/harness'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openStreams } from './open-streams.ts'
import type { Streams } from './streams.ts'

let server: RedisServer
let admin: Redis
let streams: Streams

const url = (user: string, password: string) => server.url.replace('://', `://${user}:${password}@`)
const logger = { info: () => {}, warn: () => {}, error: () => {} }

beforeAll(async () => {
  server = await startRedis()
  admin = new Redis(server.url)
  await admin.call('ACL', 'SETUSER', 'caracal', 'on', '>first', '~*', '&*', '+@all')
  streams = openStreams({ driver: 'redis', url: url('caracal', 'first'), keys: keyRing(randomBytes(32)), logger })
})
afterAll(async () => {
  await streams?.close()
  admin?.disconnect()
  await server?.stop()
})

test('[P-144] the password of Redis changes under load: nothing fails while both are valid, and connections that break later come back with the new one', async () => {
  const heard: string[] = []
  await streams.subscribe('caracal.config', await streams.tip('caracal.config'), {
    onMessage: ({ payload }) => void heard.push(payload),
    onGap: () => {},
  })
  let published = 0
  let failed = 0
  const loading = new AbortController()
  const load = Array.from({ length: 4 }, async () => {
    while (!loading.signal.aborted) {
      await streams.publish('caracal.config', `${published++}`).catch(() => {
        failed += 1
      })
    }
  })
  await expect.poll(() => published).toBeGreaterThan(50)
  await admin.call('ACL', 'SETUSER', 'caracal', '>second')
  await streams.relogin(url('caracal', 'second'))
  const then = published
  await expect.poll(() => published).toBeGreaterThan(then + 50)
  loading.abort()
  await Promise.all(load)
  expect(failed).toBe(0)

  await admin.call('ACL', 'SETUSER', 'caracal', '<first')
  await admin.call('CLIENT', 'KILL', 'USER', 'caracal')
  await expect
    .poll(() =>
      streams.publish('caracal.config', 'after').then(
        () => true,
        () => false,
      ),
    )
    .toBe(true)
  await expect.poll(() => heard).toContain('after')
})

test('[P-144] a password that is wrong, or another server, is refused and the one in use stays', async () => {
  await expect(streams.relogin(url('caracal', 'wrong'))).rejects.toThrow(/WRONGPASS/)
  await expect(streams.relogin('redis://caracal:second@127.0.0.1:1')).rejects.toThrow('only the user and the password')
  await admin.call('CLIENT', 'KILL', 'USER', 'caracal')
  await expect
    .poll(() =>
      streams.ping().then(
        () => true,
        () => false,
      ),
    )
    .toBe(true)
})
