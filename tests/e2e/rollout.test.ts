import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { keyRing } from '@caracal/core'
import { freePorts, freshDatabaseUrl, redisUrl } from '@caracal/harness'
import { openStreams } from '@caracal/streams'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Services, startServices } from './services.ts'

describe('caracal rollout check against real services', () => {
  let services: Services
  let databaseUrl: string
  let redis: string
  beforeAll(async () => {
    databaseUrl = await freshDatabaseUrl()
    redis = redisUrl()
    services = await startServices({ databaseUrl, redisUrl: redis, firstPort: await freePorts(20) })
  })
  afterAll(() => services?.stop())

  async function check(window: number) {
    const addresses = services.all.map(({ role, metrics }) => `${role}=${metrics}`)
    const ran = await services.caracal(['--json', 'rollout', 'check', '--window', String(window), '--service', ...addresses])
    const told = JSON.parse(ran.stdout) as { decision: string; gates: { id: string; state: string; evidence: string }[]; advice?: string[] }
    return { code: ran.code, told, stopped: told.gates.filter(({ state }) => state === 'stop').map(({ id }) => id) }
  }

  test('[3-05] [3-06] healthy services go: 0', async () => {
    const { code, told, stopped } = await check(1)
    expect(stopped, JSON.stringify(told)).toEqual([])
    expect([code, told.decision]).toEqual([0, 'go'])
  })

  test('[3-06] [3-11] dead messages of the outbox stop: 3, with the row and what to do', async () => {
    const client = new pg.Client({ connectionString: databaseUrl })
    await client.connect()
    await client.query(
      `INSERT INTO outbox (stream, aggregate, payload, created_at, dead_at) VALUES ('caracal.nowhere', 'x', '{}', now(), now())`,
    )
    const { code, told, stopped } = await check(1)
    await client.query('DELETE FROM outbox WHERE dead_at IS NOT NULL')
    await client.end()
    expect(code).toBe(3)
    expect(stopped).toEqual(['G8', 'S5'])
    expect(told.advice?.at(-1)).toContain('roll forward')
  })

  test('[3-06] [3-11] what nobody authenticated goes to quarantine, and while that grows it stops', async () => {
    const stranger = openStreams({
      driver: 'redis',
      url: redis,
      keys: keyRing(randomBytes(32)),
      logger: { info: () => {}, warn: () => {}, error: () => {} },
    })
    let over = false
    const checking = check(5).finally(() => {
      over = true
    })
    // Whenever the two looks are: something comes between them.
    while (!over) {
      await stranger.append('caracal.audit.events', [{ partition: 'x', payload: '{}' }])
      await sleep(500)
    }
    await stranger.close()
    const { code, stopped } = await checking
    expect(code).toBe(3)
    expect(stopped).toEqual(['G9', 'S3'])
  })

  test('[3-05] [3-11] a role that is gone stops', async () => {
    await services.service('coordinator').end('SIGTERM')
    const { code, told, stopped } = await check(1)
    expect(code).toBe(3)
    expect(stopped).toEqual(['G6'])
    expect(told.gates.find(({ id }) => id === 'G6')?.evidence).toContain('coordinator')
  })

  test.each([
    [['--phase', 'then'], '--phase is one of'],
    [['--window', 'x'], '--window'],
    [['--service', 'sts'], '--service takes'],
    [['--service', 'nobody=http://127.0.0.1:1'], '--service takes'],
  ])('%j is wrong use', async (args, words) => {
    const ran = await services.caracal(['rollout', 'check', ...args])
    expect(ran.code).toBe(2)
    expect(ran.stderr).toContain(words)
  })

  test('without a cluster it cannot tell: 1, and says what could not be run', async () => {
    const ran = await services.caracal(['rollout', 'check'], { KUBECTL: '/nonexistent/kubectl' })
    expect(ran.code).toBe(1)
    expect(ran.stderr).toContain('/nonexistent/kubectl cannot be run')
  })
})
