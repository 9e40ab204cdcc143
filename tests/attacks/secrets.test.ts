import { createHmac, randomBytes } from 'node:crypto'
import { Pool } from 'undici'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { digestClientSecret, matchesSecret } from '../../apps/sts/src/client/client-secret.ts'
import { type Range, startRange } from './range.ts'

const WRONG = 10_000

let range: Range
let here: Pool
let elsewhere: Pool

beforeAll(async () => {
  range = await startRange({ any: { url: 'http://127.0.0.1:9' } })
  here = new Pool(range.installation.endpoints.sts, { connections: 32 })
  elsewhere = new Pool(range.installation.endpoints.sts, { connections: 2, localAddress: '127.0.0.2' })
}, 120_000)
afterAll(async () => {
  await Promise.all([here?.close(), elsewhere?.close()])
  await range?.stop()
})

async function ask(pool: Pool, clientSecret: string, clientId = range.client.clientId) {
  const answer = await pool.request({
    method: 'POST',
    path: '/oauth/2/token',
    headers: {
      authorization: `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`,
      'content-type': 'application/x-www-form-urlencoded',
    },
    body: 'grant_type=client_credentials&resource=https%3A%2F%2Fany.example%2F',
  })
  const body = (await answer.body.json()) as { code?: string; error?: string }
  return { status: answer.statusCode, code: body.code, error: body.error, retryAfter: answer.headers['retry-after'] }
}

test('10,000 wrong secrets from one source do not shut the right one out, from there or from elsewhere [P-010]', async () => {
  const { clientSecret } = range.client
  const seen = new Map<string, number>()
  let left = WRONG
  const right: number[] = []
  const flood = async () => {
    while (left-- > 0) {
      const { status, code, retryAfter } = await ask(here, `ccs_${randomBytes(32).toString('base64url')}`)
      seen.set(`${status} ${code}`, (seen.get(`${status} ${code}`) ?? 0) + 1)
      if (status === 429) expect(Number(retryAfter)).toBeGreaterThan(0)
      if (left % 500 === 0) right.push((await ask(here, clientSecret)).status, (await ask(elsewhere, clientSecret)).status)
    }
  }
  await Promise.all(Array.from({ length: 32 }, flood))
  expect(new Set(seen.keys())).toEqual(new Set(['401 invalid_client', '429 rate_limited']))
  expect([...seen.values()].reduce((sum, count) => sum + count, 0)).toBe(WRONG)
  // Nearly all of them were slowed down, none of the right ones.
  expect(seen.get('429 rate_limited')).toBeGreaterThan(WRONG * 0.9)
  expect(right.length).toBeGreaterThanOrEqual(20)
  expect(new Set(right)).toEqual(new Set([200]))
  expect((await ask(elsewhere, clientSecret)).status).toBe(200)
  // A wrong one from elsewhere is told that it is wrong: who knows an id cannot lock anybody else out by it.
  expect(await ask(elsewhere, 'ccs_wrong')).toMatchObject({ status: 401, code: 'invalid_client' })
}, 180_000)

test('a flood of unknown clients leaves the known one alone, and everybody gets the same refusal [P-006]', async () => {
  const strangers = await Promise.all(Array.from({ length: 500 }, (_, at) => ask(here, 'ccs_wrong', `app_${String(at).padStart(26, '0')}`)))
  expect(new Set(strangers.map(({ status, code }) => `${status} ${code}`))).toEqual(new Set(['401 invalid_client']))
  expect((await ask(here, range.client.clientSecret)).status).toBe(200)
}, 120_000)

test('a secret has 256 random bits and a prefix to find it by, and a check is one HMAC: no flood of checks is dear [P-007]', () => {
  expect(range.client.clientSecret).toMatch(/^ccs_[A-Za-z0-9_-]{43}$/)
  const pepper = randomBytes(32)
  const digest = digestClientSecret(pepper, range.client.clientSecret)
  expect(digest).toBe(createHmac('sha256', pepper).update(range.client.clientSecret).digest('hex'))
  expect(matchesSecret(pepper, [digest], range.client.clientSecret)).toBe(true)
  expect(matchesSecret(pepper, [digest], range.client.clientSecret.toLowerCase())).toBe(false)
  expect(matchesSecret(pepper, [], range.client.clientSecret)).toBe(false)
  expect(matchesSecret(undefined, [digest], range.client.clientSecret)).toBe(false)

  // Processor time, not time: other work on the machine does not count. The same for known, wrong and unknown clients.
  for (const digests of [[digest], [digest, digest], []]) {
    const checks = 5_000
    const before = process.cpuUsage()
    for (let at = 0; at < checks; at++) matchesSecret(pepper, digests, `ccs_${at}`)
    const { user, system } = process.cpuUsage(before)
    expect((user + system) / checks).toBeLessThan(50)
  }
})
