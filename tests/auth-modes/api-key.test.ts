import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { keyRing } from '@caracal/core'
import { freePort } from '@caracal/harness'
import { openDatabase } from '@caracal/postgres'
import { openStreams } from '@caracal/streams'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { curl, fresh, type Ground, startGround } from './ground.ts'

let ground: Ground
let base: string
let key: { id: string; api_key: string }
const url = (path = '/items/1') => `${base}/r/lab${path}`
const keys = (application = 'agent') => `/applications/${ground.applications[application]}/keys`
const make = async (application: string, name: string, more: object = {}) => {
  const made = await ground.api('POST', keys(application), { kind: 'api_key', name, ...more })
  if (made.status !== 201) throw new Error(JSON.stringify(made))
  return made.body as typeof key
}
const withKey = (text: string) => ['-H', `X-API-Key: ${text}`]

beforeAll(async () => {
  ground = await startGround()
  key = await make('agent', 'main')
  base = (await ground.gateway({ AUTH_MODE: 'api_key' })).address.url
})
afterAll(() => ground?.stop())

describe('AUTH_MODE=api_key', () => {
  test('[4-14] a good key calls what policy allows its application; evidence names kind and id of the key, and no mandate', async () => {
    const before = ground.upstream.seen.length
    const answer = await curl(url(), [...withKey(key.api_key), ...fresh()])
    expect(answer).toMatchObject({ status: 200, text: 'from the upstream' })
    const seen = ground.upstream.seen.slice(before)
    expect(seen).toHaveLength(1)
    expect(Object.keys(seen[0]?.headers ?? {}).filter((name) => name === 'x-api-key' || name.startsWith('x-caracal-'))).toEqual([])
    const event = await ground.event(answer, 'call.allowed')
    expect(event).toMatchObject({
      actor: { application: ground.applications.agent },
      credential: { kind: 'api_key', id: key.id },
      scopes: ['lab:read'],
    })
    expect(event).not.toHaveProperty('mandate')
    expect(JSON.stringify(event)).not.toContain(key.api_key)
  })

  test('[4-14] a key is no more than its application: policy decides, what is not declared is refused, another resource is not there', async () => {
    const stranger = await make('stranger', 'k')
    const table: readonly [text: string, path: string, status: number, code: string][] = [
      [stranger.api_key, '/r/lab/items/1', 403, 'no_rule_allows'],
      [key.api_key, '/r/lab/nothing', 403, 'operation_not_declared'],
      [key.api_key, '/r/nothing/items/1', 404, 'resource_unknown'],
      [key.api_key, '/r/lab/bound', 403, 'sender_constraint_required'],
    ]
    const before = ground.upstream.seen.length
    for (const [text, path, status, code] of table) {
      const answer = await curl(base + path, [...withKey(text), ...fresh()])
      expect(answer, path).toMatchObject({ status, code })
      const event = await ground.event(answer, 'call.refused')
      expect(event, path).toMatchObject({ reason: code, credential: { kind: 'api_key' } })
    }
    expect(ground.upstream.seen).toHaveLength(before)
  })

  test('[4-14] [P-074] what is no good key is refused alike, and nothing goes out', async () => {
    const [id, secret] = [key.api_key.slice(3, 29), key.api_key.slice(30)]
    const expired = await make('agent', 'brief', { expiresAt: Date.now() + 800 })
    await expect.poll(async () => (await curl(url(), [...withKey(expired.api_key), ...fresh()])).status).toBe(401)
    const wrong: readonly [what: string, args: string[], status: number, code: string][] = [
      ['absent', [], 401, 'unauthenticated'],
      ['empty', ['-H', 'X-API-Key;'], 401, 'unauthenticated'],
      ['another secret', withKey(`ck_${id}_${randomBytes(32).toString('base64url')}`), 401, 'invalid_client'],
      ['an unknown id', withKey(`ck_${'0'.repeat(26)}_${secret}`), 401, 'invalid_client'],
      ['cut short', withKey(key.api_key.slice(0, -1)), 401, 'invalid_client'],
      ['longer', withKey(`${key.api_key}a`), 401, 'invalid_client'],
      ['in capitals', withKey(key.api_key.toUpperCase()), 401, 'invalid_client'],
      ['its id alone', withKey(key.id), 401, 'invalid_client'],
      ['twice', [...withKey(key.api_key), ...withKey(key.api_key)], 400, 'invalid_request'],
      ['expired', withKey(expired.api_key), 401, 'invalid_client'],
      ['as a Bearer token', ['-H', `Authorization: Bearer ${key.api_key}`], 401, 'unauthenticated'],
    ]
    const before = ground.upstream.seen.length
    const refused = await Promise.all(wrong.map(([, args]) => curl(url(), [...args, ...fresh()])))
    for (const [at, [what, , status, code]] of wrong.entries()) {
      expect(refused[at], what).toMatchObject({ status, code })
      if (status === 401) expect(refused[at]?.headers['www-authenticate'], what).toMatch(/^ApiKey /)
    }
    const texts = refused.filter(({ code }) => code === 'invalid_client').map(({ text }) => text.replace(/req_\w+/g, 'id'))
    expect(new Set(texts).size).toBe(1)
    expect(ground.upstream.seen).toHaveLength(before)
    expect((await curl(url(), [...withKey(key.api_key), ...fresh()])).status).toBe(200)
  })

  test('[4-14] a revoked key ends at once: its next call is refused, and a stream of it that runs is cut', async () => {
    const doomed = await make('agent', 'doomed')
    const ending = curl(url('/stream'), ['-N', ...withKey(doomed.api_key), ...fresh()])
    const streams = () => ground.upstream.seen.filter(({ url: path }) => path === '/stream').length
    await expect.poll(streams).toBe(1)
    expect((await ground.api('DELETE', `${keys()}/${doomed.id}`)).status).toBe(204)
    expect((await ending).text).toContain('begun')
    const after = await curl(url(), [...withKey(doomed.api_key), ...fresh()])
    expect(after.status).toBe(401)
    await expect.poll(async () => (await curl(url(), [...withKey(doomed.api_key), ...fresh()])).code).toBe('invalid_client')
  })

  test('a rule that lets something happen once takes the nonce for it', async () => {
    expect((await curl(url('/once'), [...withKey(key.api_key), ...fresh()])).status).toBe(200)
  })
})

describe('replay protection', () => {
  const call = (args: string[], at = base) => curl(`${at}/r/lab/items/1`, [...withKey(key.api_key), ...args])
  const seconds = () => Math.floor(Date.now() / 1000)

  test('[4-15] a nonce counts once, also at another replica in another process, and for its application only', async () => {
    const port = await freePort()
    const child = spawn(process.execPath, [`${import.meta.dirname}/../../apps/cli/src/main.ts`, 'serve', 'gateway'], {
      env: { ...process.env, ...ground.environment, PORT: String(port), AUTH_MODE: 'api_key', SPOOL_DIR: `${ground.folder}/child` },
      stdio: 'ignore',
    })
    try {
      const there = `http://127.0.0.1:${port}`
      await expect.poll(async () => (await curl(`${there}/ready`)).status, { timeout: 60_000 }).toBe(200)
      const once = fresh()
      expect(await call(once)).toMatchObject({ status: 200 })
      expect(await call(once)).toMatchObject({ status: 401, code: 'nonce_replayed' })
      expect(await call(once, there)).toMatchObject({ status: 401, code: 'nonce_replayed' })
      const back = fresh()
      expect(await call(back, there)).toMatchObject({ status: 200 })
      expect(await call(back)).toMatchObject({ status: 401, code: 'nonce_replayed' })
      const other = await make('other', 'k')
      expect((await curl(url(), [...withKey(other.api_key), ...once])).status).toBe(200)
    } finally {
      child.kill('SIGKILL')
    }
  })

  test('[4-15] the time is looked at first; what is missing, malformed or too far away is refused before anything is used up', async () => {
    const nonce = randomBytes(16).toString('hex')
    const wrong: readonly [what: string, args: string[], status: number, code: string][] = [
      ['neither', [], 400, 'nonce_required'],
      ['no time', ['-H', `X-Caracal-Nonce: ${nonce}`], 400, 'nonce_required'],
      ['no nonce', ['-H', `X-Caracal-Timestamp: ${seconds()}`], 400, 'nonce_required'],
      ['a short nonce', fresh('0123456789'), 400, 'nonce_required'],
      ['a nonce with a blank', fresh('0123456789 abcdef0'), 400, 'nonce_required'],
      ['milliseconds', fresh(nonce, Date.now()), 400, 'nonce_required'],
      ['words for a time', ['-H', `X-Caracal-Nonce: ${nonce}`, '-H', 'X-Caracal-Timestamp: now'], 400, 'nonce_required'],
      ['an old time', fresh(nonce, seconds() - 302), 401, 'timestamp_outside_window'],
      ['an old time and a bad nonce', fresh('x', seconds() - 302), 401, 'timestamp_outside_window'],
      ['a time to come', fresh(nonce, seconds() + 70), 401, 'timestamp_outside_window'],
      ['two nonces', [...fresh(nonce), '-H', `X-Caracal-Nonce: ${nonce}`], 400, 'invalid_request'],
    ]
    const refused = await Promise.all(wrong.map(([, args]) => call(args)))
    for (const [at, [what, , status, code]] of wrong.entries()) expect(refused[at], what).toMatchObject({ status, code })
    expect(await call(fresh(nonce, seconds() - 290))).toMatchObject({ status: 200 })
    expect(await call(fresh(undefined, seconds() + 50))).toMatchObject({ status: 200 })
  })

  test('[4-15] a call that is refused gives its nonce back, and one of several at once goes out', async () => {
    const nonce = fresh()
    expect(await curl(url('/nothing'), [...withKey(key.api_key), ...nonce])).toMatchObject({ code: 'operation_not_declared' })
    const together = await Promise.all(Array.from({ length: 8 }, () => call(nonce)))
    expect(together.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(together.filter(({ code }) => code === 'nonce_replayed')).toHaveLength(7)
  })

  test('[4-15] each setting counts: protection off, another window, how long a nonce is remembered, how many without asking', async () => {
    const off = await ground.gateway({ AUTH_MODE: 'api_key', REPLAY_PROTECTION: 'false' })
    expect(await call([], off.address.url)).toMatchObject({ status: 200 })
    expect(await call(fresh(undefined, 1), off.address.url)).toMatchObject({ status: 200 })
    expect(await curl(`${off.address.url}/r/lab/once`, [...withKey(key.api_key), ...fresh()])).toMatchObject({ code: 'nonce_required' })

    const narrow = await ground.gateway({
      AUTH_MODE: 'api_key',
      REPLAY_WINDOW: '10s',
      REPLAY_NONCE_TTL: '1h',
      REPLAY_CACHE_SIZE: '0',
    })
    expect(await call(fresh(undefined, seconds() - 20), narrow.address.url)).toMatchObject({ code: 'timestamp_outside_window' })
    // Who knows nothing by himself asks the store, which may have forgotten; who knows it does not ask.
    for (const [at, ttl, again] of [
      [narrow.address.url, 3_600, 200],
      [base, 360, 401],
    ] as const) {
      const nonce = randomBytes(16).toString('hex')
      expect(await call(fresh(nonce), at)).toMatchObject({ status: 200 })
      const { rows } = await sql<{ left: number }>`
        delete from stream_claims where key like ${`nonce:%:${nonce}`}
        returning extract(epoch from expires_at - now())::int as left`.execute(ground.database.query)
      expect(rows).toHaveLength(1)
      expect(Math.abs((rows[0]?.left ?? 0) - ttl)).toBeLessThan(30)
      expect(await call(fresh(nonce), at)).toMatchObject({ status: again })
    }
  })

  test('[4-15] a store that is away is a refusal of its own: 503, and nothing goes out', async () => {
    const database = await openDatabase({ url: String(ground.environment.DATABASE_URL) })
    const keys = keyRing(Buffer.from(String(ground.environment.STREAMS_HMAC_KEY), 'hex'))
    const silent = { info: () => {}, warn: () => {}, error: () => {} }
    const streams = openStreams({ driver: 'postgres', database, keys, logger: silent })
    const gateway = await ground.gateway({ AUTH_MODE: 'api_key' }, streams)
    expect(await call(fresh(), gateway.address.url)).toMatchObject({ status: 200 })
    const before = ground.upstream.seen.length
    await streams.close()
    await database.close()
    expect(await call(fresh(), gateway.address.url)).toMatchObject({ status: 503, code: 'store_unavailable' })
    expect(ground.upstream.seen).toHaveLength(before)
  })
})

describe('AUTH_ZONE', () => {
  test('names the one zone whose applications may call', async () => {
    const [here, elsewhere] = await Promise.all(['lab', 'another'].map((zone) => ground.gateway({ AUTH_MODE: 'api_key', AUTH_ZONE: zone })))
    const call = (at: string) => curl(`${at}/r/lab/items/1`, [...withKey(key.api_key), ...fresh()])
    expect(await call(String(here?.address.url))).toMatchObject({ status: 200 })
    expect(await call(String(elsewhere?.address.url))).toMatchObject({ status: 401, code: 'invalid_client' })
  })
})
