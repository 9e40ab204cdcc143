import { createHmac, createPrivateKey, generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type JWTHeaderParameters, type JWTPayload, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openssl } from './certificates.ts'
import { type Answer, curl, fresh, type Ground, startGround } from './ground.ts'

let ground: Ground
let base: string
/** Private keys by algorithm; the public halves are files beside them. */
const signing: Record<string, KeyObject> = {}
const ISSUER = 'https://idp.example'
const AUDIENCE = 'https://gateway.example'
const seconds = () => Math.floor(Date.now() / 1000)
const file = (name: string) => join(ground.folder, name)

/** A token that is good, with claims and header replaced. */
const signed = (claims: JWTPayload = {}, header: Partial<JWTHeaderParameters> = {}, key = signing.RS256): Promise<string> =>
  new SignJWT({ iss: ISSUER, aud: AUDIENCE, sub: String(ground.applications.agent), exp: seconds() + 60, iat: seconds(), ...claims })
    .setProtectedHeader({ alg: 'RS256', typ: 'JWT', ...header })
    .sign(key as KeyObject)

const call = (token: string, more: readonly string[] = fresh(), at = base): Promise<Answer> =>
  curl(`${at}/r/lab/items/1`, ['-H', `Authorization: Bearer ${token}`, ...more])

const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

beforeAll(async () => {
  ground = await startGround()
  const made: readonly [algorithm: string, args: string][] = [
    ['RS256', 'genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048'],
    ['ES256', 'genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256'],
    ['EdDSA', 'genpkey -algorithm ED25519'],
  ]
  for (const [algorithm, args] of made) {
    openssl(ground.folder, `${args} -out ${algorithm}.key`)
    openssl(ground.folder, `pkey -in ${algorithm}.key -pubout -out ${algorithm}.pem`)
    signing[algorithm] = createPrivateKey(readFileSync(file(`${algorithm}.key`)))
  }
  signing.PS256 = signing.RS256 as KeyObject
  base = (await ground.gateway({ AUTH_MODE: 'jwt', JWT_PUBLIC_KEY_FILE: file('RS256.pem'), JWT_ISSUER: ISSUER, JWT_AUDIENCE: AUDIENCE }))
    .address.url
})
afterAll(() => ground?.stop())

describe('AUTH_MODE=jwt', () => {
  test('[4-14] a token names its application by id or name; evidence names the key that signed it', async () => {
    const agent = String(ground.applications.agent)
    for (const claims of [{ sub: agent }, { sub: 'agent' }, { sub: 'someone', client_id: agent }, { sub: 'someone', azp: 'agent' }]) {
      const answer = await call(await signed(claims))
      expect(answer, JSON.stringify(claims)).toMatchObject({ status: 200 })
      const event = await ground.event(answer, 'call.allowed')
      expect(event).toMatchObject({ actor: { application: agent }, credential: { kind: 'jwt' } })
      expect(event.credential?.id).toMatch(/^[\w-]{43}$/)
    }
    expect(await call(await signed({ aud: ['https://else.example', AUDIENCE] }))).toMatchObject({ status: 200 })
    expect(await call(await signed({ sub: 'stranger' }))).toMatchObject({ status: 403, code: 'no_rule_allows' })
  })

  test('[4-14] [P-074] what does not hold in every part is refused, and nothing goes out', async () => {
    const good = await signed()
    const [head = '', body = '', signature = ''] = good.split('.')
    const publicPem = readFileSync(file('RS256.pem'), 'utf8')
    const unsigned = (alg: string) => `${encoded({ alg, typ: 'JWT' })}.${body}`
    const hmac = (secret: string) => `${unsigned('HS256')}.${createHmac('sha256', secret).update(unsigned('HS256')).digest('base64url')}`
    const foreign = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const wrong: readonly [what: string, token: string][] = [
      ['alg none', `${unsigned('none')}.`],
      ['alg None with the signature', `${unsigned('None')}.${signature}`],
      ['HS256 with the public key as its secret', hmac(publicPem)],
      ['HS256 with the public key without its last line break', hmac(publicPem.trimEnd())],
      ['another algorithm of the same key', await signed({}, { alg: 'PS256' })],
      ['another key', await signed({}, {}, foreign.privateKey)],
      ['another kind of key', await signed({}, { alg: 'ES256' }, signing.ES256)],
      ['another body', `${head}.${encoded({ sub: 'agent', exp: seconds() + 60, iss: ISSUER, aud: AUDIENCE })}.${signature}`],
      ['a signature cut short', good.slice(0, -4)],
      ['no signature', `${head}.${body}.`],
      ['its own key in the header', await signed({}, { jwk: foreign.publicKey.export({ format: 'jwk' }) as never }, foreign.privateKey)],
      ['a key by reference', await signed({}, { jku: 'https://evil.example/jwks.json' })],
      ['an extension that must be understood', `${encoded({ alg: 'RS256', crit: ['b64'], b64: true })}.${body}.${signature}`],
      ['another type', await signed({}, { typ: 'dpop+jwt' })],
      ['another issuer', await signed({ iss: 'https://idp.example/' })],
      ['no issuer', await signed({ iss: undefined })],
      ['another audience', await signed({ aud: 'https://gateway.example/' })],
      ['no audience', await signed({ aud: undefined })],
      ['expired', await signed({ exp: seconds() - 61 })],
      ['no end', await signed({ exp: undefined })],
      ['an end in words', await signed({ exp: '9999999999' as never })],
      ['not yet valid', await signed({ nbf: seconds() + 120 })],
      ['issued in the future', await signed({ iat: seconds() + 120 })],
      ['an ID Token', await signed({ at_hash: 'x' })],
      ['an unknown application', await signed({ sub: 'nobody' })],
      ['an unknown client, though its subject is an application', await signed({ client_id: 'nobody' })],
      ['no application', await signed({ sub: undefined })],
      ['a number for a name', await signed({ sub: 7 as never })],
      ['two parts', `${head}.${body}`],
      ['no token', 'x'],
    ]
    const before = ground.upstream.seen.length
    const refused = await Promise.all(wrong.map(([, token]) => call(token)))
    for (const [at, [what]] of wrong.entries()) expect(refused[at], what).toMatchObject({ status: 401, code: 'invalid_client' })
    const absent: readonly [args: string[], status: number, code: string][] = [
      [[], 401, 'unauthenticated'],
      [['-H', `Authorization: Basic ${good}`], 401, 'invalid_client'],
      [['-H', `Authorization: Bearer ${good}`, '-H', `Authorization: Bearer ${good}`], 400, 'invalid_request'],
      [['-H', `X-API-Key: ${good}`], 401, 'unauthenticated'],
    ]
    for (const [args, status, code] of absent) {
      expect(await curl(`${base}/r/lab/items/1`, [...args, ...fresh()])).toMatchObject({ status, code })
    }
    expect(ground.upstream.seen).toHaveLength(before)
    expect(await call(good)).toMatchObject({ status: 200 })
  })

  test('[4-14] the algorithm is pinned: each takes tokens of its own and of no other', async () => {
    for (const algorithm of ['ES256', 'EdDSA', 'PS256']) {
      const pem = algorithm === 'PS256' ? 'RS256.pem' : `${algorithm}.pem`
      const gateway = await ground.gateway({ AUTH_MODE: 'jwt', JWT_ALGORITHM: algorithm, JWT_PUBLIC_KEY_FILE: file(pem) })
      const own = await signed({}, { alg: algorithm }, signing[algorithm])
      expect(await call(own, fresh(), gateway.address.url), algorithm).toMatchObject({ status: 200 })
      expect(await call(await signed(), fresh(), gateway.address.url), algorithm).toMatchObject({ code: 'invalid_client' })
    }
  })

  test('[4-14] without issuer and audience any is taken; another claim and no skew count as they are set', async () => {
    const open = await ground.gateway({ AUTH_MODE: 'jwt', JWT_PUBLIC_KEY_FILE: file('RS256.pem') })
    expect(await call(await signed({ iss: 'x', aud: 'y' }), fresh(), open.address.url)).toMatchObject({ status: 200 })
    const strict = await ground.gateway({
      AUTH_MODE: 'jwt',
      JWT_PUBLIC_KEY_FILE: file('RS256.pem'),
      JWT_APPLICATION_CLAIM: 'agent_name',
      JWT_SKEW: '0s',
    })
    const there = async (claims: JWTPayload) => (await call(await signed(claims), fresh(), strict.address.url)).status
    expect(await there({ agent_name: 'agent' })).toBe(200)
    expect(await there({})).toBe(401)
    expect(await there({ agent_name: 'agent', exp: seconds() - 1 })).toBe(401)
    expect((await call(await signed({ exp: seconds() - 30 }))).status).toBe(200)
  })

  test('[P-144] keys are read again from their file: old and new beside each other, then the new one alone', async () => {
    const [name, next] = [file('rotating.pem'), generateKeyPairSync('rsa', { modulusLength: 2048 })]
    const [first, second] = [readFileSync(file('RS256.pem'), 'utf8'), next.publicKey.export({ format: 'pem', type: 'spki' }).toString()]
    const write = (text: string) => {
      writeFileSync(`${name}.new`, text)
      renameSync(`${name}.new`, name)
    }
    write(first)
    const gateway = await ground.gateway({ AUTH_MODE: 'jwt', JWT_PUBLIC_KEY_FILE: name })
    const [old, young] = [await signed(), await signed({}, {}, next.privateKey)]
    const statuses = async () => [
      (await call(old, fresh(), gateway.address.url)).status,
      (await call(young, fresh(), gateway.address.url)).status,
    ]
    expect(await statuses()).toEqual([200, 401])
    write(first + second)
    await expect.poll(statuses, { interval: 200 }).toEqual([200, 200])
    write('nothing that is a key')
    write(second)
    await expect.poll(statuses, { interval: 200 }).toEqual([401, 200])
  })
})

describe('replay protection of tokens', () => {
  test('[4-15] the id of a token makes it good for one call; a nonce makes it good for as many as there are nonces', async () => {
    const once = await signed({ jti: randomUUID() })
    expect(await call(once, [])).toMatchObject({ status: 200 })
    expect(await call(once, [])).toMatchObject({ status: 401, code: 'nonce_replayed' })
    const many = await signed({ jti: randomUUID() })
    expect(await call(many)).toMatchObject({ status: 200 })
    expect(await call(many)).toMatchObject({ status: 200 })
    expect(await call(await signed(), [])).toMatchObject({ status: 400, code: 'nonce_required' })
    // Too long a life to remember its id for.
    expect(await call(await signed({ jti: randomUUID(), exp: seconds() + 3_600 }), [])).toMatchObject({ code: 'nonce_required' })
  })
})
