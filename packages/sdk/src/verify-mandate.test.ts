import { createHash, generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import fc from 'fast-check'
import { SignJWT } from 'jose'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { CaracalError } from './caracal-error.ts'
import { mandateVerifier, type VerifierOptions } from './verify-mandate.ts'

const AUDIENCE = 'https://reports.example/'
const nothingRevoked = { fresh: () => true, revoked: () => null }

type Key = { readonly kid: string; readonly privateKey: KeyObject; readonly jwk: object }

function newKey(): Key {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { kty, crv, x, y } = publicKey.export({ format: 'jwk' })
  const kid = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url')
  return { kid, privateKey, jwk: { kty, crv, x, y, kid, alg: 'ES256', use: 'sig' } }
}

/** A real issuer: what it answers can be changed. */
let server: Server
let issuer: string
let answer: { status: number; body: string }
let asked: number
const key = newKey()
const publish = (...keys: Key[]) => JSON.stringify({ keys: keys.map(({ jwk }) => jwk) })

beforeAll(async () => {
  server = createServer((_, response) => {
    asked += 1
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(answer.body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => void server.close())
beforeEach(() => {
  asked = 0
  answer = { status: 200, body: publish(key) }
})
afterEach(() => void vi.useRealTimers())

function mandate(claims: Record<string, unknown> = {}, by = key): Promise<string> {
  const now = Math.floor(Date.now() / 1000)
  const base = {
    iss: issuer,
    aud: AUDIENCE,
    sub: 'app_1',
    client_id: 'app_1',
    scope: 'a b c',
    zone: 'zon_1',
    txn: 'txn_1',
    jti: randomUUID(),
  }
  return new SignJWT({ ...base, iat: now, nbf: now, exp: now + 300, ...claims })
    .setProtectedHeader({ typ: 'at+jwt', alg: 'ES256', kid: by.kid })
    .sign(by.privateKey)
}

const verifier = (options: Partial<VerifierOptions> = {}) =>
  mandateVerifier({ issuer, audience: AUDIENCE, revocations: nothingRevoked, ...options })
const codeOf = (verifying: Promise<unknown>) =>
  verifying.then(
    () => 'accepted',
    ({ status, code }: CaracalError) => `${status} ${code}`,
  )

describe('[P-153] what a route asks for only tightens what the verifier asks for', () => {
  const some = fc.subarray(['a', 'b', 'c', 'd'])
  test('a mandate that passes with more demanded passes with less, and demands add up', async () => {
    const token = await mandate()
    await fc.assert(
      fc.asyncProperty(some, some, some, async (defaults, asked, more) => {
        const verify = verifier({ scopes: defaults })
        const passes = async (scopes?: string[]) =>
          (await codeOf(verify(token, ...(scopes === undefined ? [] : [{ scopes }])))) === 'accepted'
        const held = (scopes: string[]) => scopes.every((scope) => 'abc'.includes(scope))
        expect(await passes(asked)).toBe(held([...defaults, ...asked]))
        if (await passes([...asked, ...more])) expect(await passes(asked)).toBe(true)
        if (await passes(asked)) expect(await passes()).toBe(true)
      }),
      { numRuns: 60 },
    )
  })

  test('nothing else that is passed with a call changes what is checked', async () => {
    const loose = { scopes: [], audience: 'https://other.example/', issuer: 'x', revocations: nothingRevoked, now: () => 0 } as object
    const verify = verifier({ scopes: ['d'], revocations: { fresh: () => true, revoked: () => 'zon_1' } })
    expect(await codeOf(verify(await mandate(), loose))).toBe('401 token_revoked')
    expect(await codeOf(verifier({ scopes: ['d'] })(await mandate(), loose))).toBe('403 insufficient_scope')
    expect(await codeOf(verifier()(await mandate({ aud: 'https://other.example/' }), loose))).toBe('401 invalid_token')
  })
})

describe('[P-153] a revocation source is mandatory and fails closed', () => {
  test('without one there is no verifier', () => {
    expect(() => mandateVerifier({ issuer, audience: AUDIENCE } as never)).toThrow(TypeError)
  })

  test('one that cannot show that it is fresh refuses everything', async () => {
    const verify = verifier({ revocations: { fresh: () => false, revoked: () => null } })
    expect(await codeOf(verify(await mandate()))).toBe('503 revocation_view_stale')
  })

  test.each(['zon_1', 'app_1', 'ses_1', 'dlg_1', 'mnd_1'])('%s, revoked, ends it', async (id) => {
    const verify = verifier({ revocations: { fresh: () => true, revoked: (ids) => ids.find((one) => one === id) ?? null } })
    const token = await mandate({ ses: ['ses_0', 'ses_1'], dlg: ['dlg_1'], mnd: ['mnd_1'] })
    expect(await codeOf(verify(token))).toBe('401 token_revoked')
  })
})

describe('[P-153] keys', () => {
  test('an unknown key is asked for once the cool-down of 30 s is over, and then works', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const verify = verifier()
    await verify(await mandate())
    const next = newKey()
    answer.body = publish(key, next)
    expect(await codeOf(verify(await mandate({}, next)))).toBe('401 invalid_token')
    expect(asked).toBe(1)
    vi.setSystemTime(Date.now() + 31_000)
    expect(await codeOf(verify(await mandate({}, next)))).toBe('accepted')
    expect(asked).toBe(2)
  })

  test.each([
    ['500', { status: 500, body: 'no' }],
    ['404', { status: 404, body: '{}' }],
    ['200 without JSON', { status: 200, body: '<html>' }],
    ['200 without keys', { status: 200, body: '{}' }],
  ])('[P-012] an issuer that answers %s is 503, and no bad mandate', async (_, wrong) => {
    answer = wrong
    expect(await codeOf(verifier()(await mandate()))).toBe('503 keys_unavailable')
  })

  test('[P-012] an issuer that is away is 503', async () => {
    expect(await codeOf(verifier({ jwksUrl: 'http://127.0.0.1:9/jwks.json' })(await mandate()))).toBe('503 keys_unavailable')
  })

  test('what is signed by nobody known is 401', async () => {
    expect(await codeOf(verifier()(await mandate({}, { ...newKey(), kid: key.kid })))).toBe('401 invalid_token')
    for (const token of ['', 'x', 'a.b.c', '..']) expect(await codeOf(verifier()(token))).toBe('401 invalid_token')
  })
})

describe('promises that a mandate carries', () => {
  test('[P-016] one that is bound to a key is refused as a plain Bearer', async () => {
    expect(await codeOf(verifier()(await mandate({ cnf: { jkt: 'x' } })))).toBe('401 invalid_token')
  })

  test('[P-017] one for a single use is taken once, by whoever is asked first, and never where that cannot be told', async () => {
    const token = await mandate({ once: true })
    expect(await codeOf(verifier()(token))).toBe('401 invalid_token')
    const taken = new Set<string>()
    const takeOnce = async (id: string) => !taken.has(id) && taken.add(id) !== undefined
    const verify = verifier({ takeOnce })
    expect(await codeOf(verify(token, { scopes: ['d'] }))).toBe('403 insufficient_scope')
    const verdicts = await Promise.all(Array.from({ length: 10 }, () => codeOf(verify(token))))
    expect(verdicts.toSorted()).toEqual([...Array(9).fill('401 token_replayed'), 'accepted'])
  })

  test('[P-001] it gets no leeway at its end', async () => {
    const now = Math.floor(Date.now() / 1000)
    expect(await codeOf(verifier()(await mandate({ iat: now - 10, nbf: now - 10, exp: now - 1 })))).toBe('401 token_expired')
  })
})
