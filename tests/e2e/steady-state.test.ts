import { setTimeout as sleep } from 'node:timers/promises'
import { type PostgresServer, type RedisServer, startPostgres, startRedis } from '@caracal/harness'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { LAB, type Lab, startLab } from './lab.ts'

let postgres: PostgresServer
let redis: RedisServer
let lab: Lab

beforeAll(async () => {
  postgres = await startPostgres()
  redis = await startRedis()
  lab = await startLab(['--database-url', postgres.url, '--redis-url', `${redis.url}/0`])
}, 120_000)

afterAll(async () => {
  redis?.signal('SIGCONT')
  postgres?.signal('SIGCONT')
  await lab?.stop()
  await Promise.all([postgres?.stop(), redis?.stop()])
})

const call = async (token: string) => {
  const answer = await fetch(`${lab.installation.endpoints.gateway}/r/lab/items/1`, { headers: { authorization: `Bearer ${token}` } })
  const text = await answer.text()
  return answer.status === 200 ? 'allowed' : ((JSON.parse(text) as { code: string }).code ?? text)
}

const mint = async () => {
  const { status, body } = await lab.token(lab.caller, { resource: LAB, scope: 'lab:read' })
  return status === 200 ? { token: String(body.access_token) } : { code: String(body.code) }
}

/** How often the Gateway asked the STS for a credential or for configuration. */
async function internalCalls(): Promise<number> {
  const port = Number(new URL(lab.installation.endpoints.sts).port) - 8080 + 9465
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  return [...text.matchAll(/caracal_http_request_seconds_count\{.*route="\/internal\/(?:credentials|snapshot)".*\} (\d+)/g)].reduce(
    (sum, found) => sum + Number(found[1]),
    0,
  )
}

describe('the steady state [P-164]', () => {
  test('mints and calls wait for no store and no other service: with Postgres and Redis stopped they go on until freshness cannot be shown, and recover without a restart', async () => {
    for (let warm = 0; warm < 5; warm++) {
      const { token } = await mint()
      expect(await call(token ?? '')).toBe('allowed')
    }
    const before = await internalCalls()
    postgres.signal('SIGSTOP')
    redis.signal('SIGSTOP')
    const stopped = performance.now()
    let calls = 0
    while (performance.now() - stopped < 2_500) {
      const { token, code } = await mint()
      expect(code).toBeUndefined()
      expect(await call(token ?? '')).toBe('allowed')
      calls++
    }
    expect(calls).toBeGreaterThan(20)
    expect(await internalCalls()).toBe(before)

    // [P-056] Five seconds later nobody can show that nothing was revoked.
    await sleep(5_000)
    const { code } = await mint()
    expect(code).toBe('revocation_view_stale')
    const gatewayReady = await fetch(`${lab.installation.endpoints.gateway}/ready`)
    expect(gatewayReady.status).toBe(503)
    expect(await gatewayReady.text()).toContain('revocation_view_stale')

    redis.signal('SIGCONT')
    postgres.signal('SIGCONT')
    await expect
      .poll(
        async () => {
          const { token } = await mint()
          return token === undefined ? 'no mandate' : call(token)
        },
        { timeout: 15_000, interval: 100 },
      )
      .toBe('allowed')
  }, 60_000)

  test('what was decided while the stores were away is in the ledger afterwards [P-098]', async () => {
    const { token } = await mint()
    const answer = await fetch(`${lab.installation.endpoints.gateway}/r/lab/items/9`, { headers: { authorization: `Bearer ${token}` } })
    const id = answer.headers.get('x-request-id') ?? ''
    await expect
      .poll(async () => (await lab.installation.caracal(['explain', id, '--zone', 'lab'])).stdout, { timeout: 30_000, interval: 300 })
      .toContain('call.allowed')
    const verified = await lab.installation.caracal(['audit', 'verify', '--zone', 'lab'])
    expect(verified.stdout, verified.stderr).toContain('verified')
  }, 60_000)
})
