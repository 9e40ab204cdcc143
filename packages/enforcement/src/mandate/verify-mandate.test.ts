import { createHmac } from 'node:crypto'
import { newId, type ZoneId } from '@caracal/core'
import { beforeEach, describe, expect, it } from 'vitest'
import { claimsFor, signingKey, signJws, zoneSnapshot } from '../test-support/zone-for-test.ts'
import { keyRefetcher } from './refetch-keys.ts'
import { mandateVerifier } from './verify-mandate.ts'
import { type ZoneKeyring, zoneKeyring } from './zone-keyring.ts'

const now = 1_700_000_000
const key = signingKey()
const nextKey = signingKey()
const foreignKey = signingKey()
const alias = 'https://old.example/zones/main'
const zone = zoneSnapshot({ keys: [key.jwk, nextKey.jwk], issuerAliases: [alias] })
const otherZone = zoneSnapshot({ keys: [foreignKey.jwk] })
const application = newId('application')

const keyrings = new Map<ZoneId, ZoneKeyring>()
beforeEach(() => {
  keyrings.clear()
  keyrings.set(zone.id, zoneKeyring(zone))
  keyrings.set(otherZone.id, zoneKeyring(otherZone))
})

const verifier = () => mandateVerifier({ keyring: (id) => keyrings.get(id) })
const good = (over: Record<string, unknown> = {}) => claimsFor(zone, application, now, over)

async function reasonOf(token: string, at = now): Promise<string> {
  const result = await verifier().verify(token, at)
  return result.ok ? 'ok' : `${result.reason}${result.detail === undefined ? '' : ` ${result.detail}`}`
}

describe('a good mandate', () => {
  it('gives its claims, scopes and every id whose revocation ends it', async () => {
    const ses = [newId('session'), newId('session')]
    const dlg = [newId('delegation')]
    const mnd = [newId('mandate')]
    const principals = [
      { application: newId('application'), depth: 0, session: { id: newId('session'), kind: 'task', depth: 1, labels: [] } },
    ]
    const claims = good({ ses, dlg, mnd, ctx: { session: { kind: 'task', depth: 1, labels: [] }, principals } })
    const result = await verifier().verify(signJws(key, claims), now)
    if (!result.ok) throw new Error(result.detail)
    expect(result.value.claims).toEqual(claims)
    expect([...result.value.scopes]).toEqual(['read', 'write'])
    expect(new Set(result.value.revocable)).toEqual(new Set([zone.id, application, claims.jti, ...ses, ...dlg, ...mnd]))
  })

  it.each([
    ['the next key', () => signJws(nextKey, good())],
    ['a former issuer', () => signJws(key, good({ iss: alias }))],
    [
      'a subject',
      () => signJws(key, good({ sub: newId('subject'), ctx: { subject: { issuer: 'https://idp.example', claims: { a: 1 } } } })),
    ],
    ['an actor chain', () => signJws(key, good({ act: { sub: application, act: { sub: 'app_before' } } }))],
    ['single use', () => signJws(key, good({ once: true }))],
    ['a bound key', () => signJws(key, good({ cnf: { jkt: 'thumbprint' } }))],
    ['claims that later versions add', () => signJws(key, { ...good(), later: { x: 1 } })],
  ])('may have %s', async (_, token) => {
    expect(await reasonOf(token())).toBe('ok')
  })
})

describe('the RFC 8725 corpus is refused [P-014]', () => {
  const encode = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
  const [head = '', body = '', tail = ''] = signJws(key, good()).split('.')
  const unsigned = (header: unknown) => `${encode(header)}.${body}.`
  const hmac = (secret: string) => {
    const input = `${encode({ typ: 'at+jwt', alg: 'HS256', kid: key.kid })}.${body}`
    return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
  }
  const altered = `${body.slice(0, -1)}${body.endsWith('A') ? 'B' : 'A'}`
  const nonCanonicalTail = `${tail.slice(0, -1)}${String.fromCharCode(tail.charCodeAt(tail.length - 1) + 1)}`
  const der = () => {
    const bytes = Buffer.alloc(70, 1)
    return `${head}.${body}.${bytes.toString('base64url')}`
  }

  it.each<[string, string]>([
    ['nothing', ''],
    ['one part', head],
    ['two parts', `${head}.${body}`],
    ['four parts', `${head}.${body}.${tail}.`],
    ['JWE, five parts', `${head}.${body}.${tail}.${tail}.${tail}`],
    ['alg none without signature', unsigned({ typ: 'at+jwt', alg: 'none', kid: key.kid })],
    ['alg none with signature', signJws(key, good(), { alg: 'none' })],
    ['alg None', signJws(key, good(), { alg: 'None' })],
    ['no alg', signJws(key, good(), { alg: undefined })],
    ['HMAC with the public key as secret', hmac(JSON.stringify(key.jwk))],
    ['ES384', signJws(key, good(), { alg: 'ES384' })],
    ['RS256', signJws(key, good(), { alg: 'RS256' })],
    ['es256', signJws(key, good(), { alg: 'es256' })],
    ['an ID token', signJws(key, good(), { typ: 'JWT' })],
    ['no typ', signJws(key, good(), { typ: undefined })],
    ['typ in other case', signJws(key, good(), { typ: 'AT+JWT' })],
    ['a DPoP proof', signJws(key, good(), { typ: 'dpop+jwt' })],
    ['jku', signJws(key, good(), { jku: 'https://evil.example/jwks' })],
    ['x5u', signJws(key, good(), { x5u: 'https://evil.example/x5' })],
    ['x5c', signJws(key, good(), { x5c: ['MIIB'] })],
    ['an embedded jwk', signJws(foreignKey, good(), { jwk: foreignKey.jwk })],
    ['crit', signJws(key, good(), { crit: ['exp'] })],
    ['empty crit', signJws(key, good(), { crit: [] })],
    ['b64=false', signJws(key, good(), { b64: false })],
    ['zip', signJws(key, good(), { zip: 'DEF' })],
    ['no kid', signJws(key, good(), { kid: undefined })],
    ['kid of another kind', signJws(key, good(), { kid: 7 })],
    ['an unknown kid', signJws(foreignKey, good())],
    ['the kid of one key with the signature of another', signJws(foreignKey, good(), { kid: key.kid })],
    ['the kid of the other key of the zone', signJws(key, good(), { kid: nextKey.kid })],
    ['an altered payload', `${head}.${altered}.${tail}`],
    ['an empty signature', `${head}.${body}.`],
    ['a zero signature', `${head}.${body}.${Buffer.alloc(64).toString('base64url')}`],
    ['a signature of another length', der()],
    ['trailing bits in base64url', `${head}.${body}.${nonCanonicalTail}`],
    ['padding', `${head}.${body}.${tail}==`],
    ['base64 instead of base64url', `${head}.${body}.+${tail.slice(1)}`],
    ['white space', ` ${head}.${body}.${tail}`],
    ['a line break inside', `${head}.${body}\n.${tail}`],
    ['a payload that is no object', signJws(key, ['x'])],
    ['a payload that is null', signJws(key, null)],
    ['a header that is no JSON', `${encode('{')}.${body}.${tail}`],
    ['bytes that are not UTF-8', `${Buffer.from([0x7b, 0xff, 0x7d]).toString('base64url')}.${body}.${tail}`],
    ['more than 16 KiB', signJws(key, good({ scope: 'read', authorization_details: ['x'.repeat(17_000)] }))],
  ])('%s', async (_, token) => {
    expect(await reasonOf(token)).toMatch(/^invalid_token/)
  })
})

describe('every claim is required and typed [P-014]', () => {
  const required = ['iss', 'sub', 'aud', 'client_id', 'scope', 'iat', 'nbf', 'exp', 'jti', 'zone', 'txn']
  it.each(required)('without %s it is refused', async (name) => {
    expect(await reasonOf(signJws(key, good({ [name]: undefined })))).toBe(`invalid_token ${name}`)
  })

  const wrong = [null, 0, -1, 1.5, true, [], {}, ['x']]
  const wrongTexts = (name: string) => (name === 'scope' ? ['a"b'] : name === 'iss' || name === 'aud' ? [''] : ['', '1700000000'])
  const table = required.flatMap((name) => [...wrong, ...wrongTexts(name)].map((value) => [name, value] as const))
  it.each(table)('%s must not be %j', async (name, value) => {
    expect(await reasonOf(signJws(key, good({ [name]: value })))).toBe(`invalid_token ${name}`)
  })

  it.each([
    ['aud', ['https://bank.example/']],
    ['scope', 'read "write"'],
    ['sub', newId('session')],
    ['client_id', newId('zone')],
    ['jti', newId('mandate').toUpperCase()],
    ['jti', 'mnd_1'],
    ['zone', newId('application')],
    ['txn', 'abc'],
    ['ses', []],
    ['ses', [newId('delegation')]],
    ['ses', Array.from({ length: 11 }, () => newId('session'))],
    ['ses', newId('session')],
    ['dlg', [newId('session')]],
    ['dlg', ['']],
    ['mnd', [1]],
    ['act', {}],
    ['act', 'app'],
    ['act', { sub: 'a', act: { sub: 7 } }],
    ['act', Array.from({ length: 11 }).reduce((act) => ({ sub: 'a', act }), undefined)],
    ['cnf', {}],
    ['cnf', { jwk: {} }],
    ['cnf', { jkt: 7 }],
    ['cnf', { jkt: 'x', other: 'y' }],
    ['authorization_details', {}],
    ['once', false],
    ['once', 'true'],
    ['ctx', []],
    ['ctx', { session: { kind: 'root', depth: 1, labels: [] } }],
    ['ctx', { session: { kind: 'task', depth: 0, labels: [] } }],
    ['ctx', { session: { kind: 'task', depth: 1, labels: [1] } }],
    ['ctx', { subject: { issuer: 'x' } }],
    ['ctx', { principals: {} }],
    ['ctx', { principals: [{ application: 'x', depth: 0 }] }],
    ['ctx', { principals: [{ application: newId('application'), depth: -1 }] }],
    ['ctx', { principals: [{ application: newId('application'), depth: 0, session: { kind: 'task', depth: 1, labels: [] } }] }],
    ['ctx', { principals: Array.from({ length: 21 }, () => ({ application: newId('application'), depth: 0 })) }],
  ])('%s must not be %j', async (name, value) => {
    expect(await reasonOf(signJws(key, good({ [name]: value })))).toBe(`invalid_token ${name}`)
  })

  it('a session or a subject without what policy has to see of it is refused [P-030]', async () => {
    expect(await reasonOf(signJws(key, good({ ses: [newId('session')] })))).toBe('invalid_token ctx.session')
    expect(await reasonOf(signJws(key, good({ dlg: [newId('delegation')] })))).toBe('invalid_token ctx.principals')
    expect(await reasonOf(signJws(key, good({ dlg: [newId('delegation')], ctx: { principals: [] } })))).toBe('invalid_token ctx.principals')
    expect(await reasonOf(signJws(key, good({ sub: newId('subject') })))).toBe('invalid_token ctx.subject')
  })

  it.each([
    ['another issuer', { iss: 'https://sts.example/zones/other' }, 'invalid_token iss'],
    ['its issuer with a slash', { iss: `${zone.issuer}/` }, 'invalid_token iss'],
    ['its issuer in other case', { iss: zone.issuer.toUpperCase() }, 'invalid_token iss'],
    ["another zone's issuer", { iss: otherZone.issuer }, 'invalid_token iss'],
    ['another zone', { zone: otherZone.id }, 'invalid_token kid'],
    ["another zone and that zone's issuer", { zone: otherZone.id, iss: otherZone.issuer }, 'invalid_token kid'],
    ['an unknown zone', { zone: newId('zone') }, 'invalid_token zone'],
  ])('the zone and the issuer belong together: %s is refused', async (_, over, reason) => {
    expect(await reasonOf(signJws(key, good(over)))).toBe(reason)
  })
})

describe('times [P-014]', () => {
  it.each([
    ['at its start', {}, 0, 'ok'],
    ['in its last second', {}, 299, 'ok'],
    ['at exp', {}, 300, 'token_expired'],
    ['nbf 60 s ahead', { nbf: now + 60 }, 0, 'ok'],
    ['nbf 61 s ahead', { nbf: now + 61 }, 0, 'token_not_yet_valid nbf'],
    ['iat 60 s ahead', {}, -60, 'ok'],
    ['iat 61 s ahead', {}, -61, 'token_not_yet_valid iat'],
    ['900 s of life', { exp: now + 900 }, 0, 'ok'],
    ['901 s of life', { exp: now + 901 }, 0, 'invalid_token exp'],
    ['exp before iat', { exp: now - 1 }, 0, 'invalid_token exp'],
  ])('%s: %j after %i s → %s', async (_, over, after, reason) => {
    expect(await reasonOf(signJws(key, good(over)), now + after)).toBe(reason)
  })
})

describe('remembering what was verified [P-075]', () => {
  it('ends at exp, also for a remembered token', async () => {
    const verify = verifier()
    const token = signJws(key, good())
    expect((await verify.verify(token, now)).ok).toBe(true)
    expect(verify.cached()).toBe(1)
    expect(await verify.verify(token, now + 300)).toMatchObject({ reason: 'token_expired' })
    expect(verify.cached()).toBe(0)
  })

  it('is dropped when the keys of the zone change, and kept when they do not', async () => {
    const verify = verifier()
    const token = signJws(key, good())
    const first = await verify.verify(token, now)
    keyrings.set(zone.id, zoneKeyring({ ...zone }, keyrings.get(zone.id)))
    const second = await verify.verify(token, now)
    expect(first.ok && second.ok && first.value === second.value).toBe(true)
    keyrings.set(zone.id, zoneKeyring({ ...zone, keys: [nextKey.jwk] }, keyrings.get(zone.id)))
    expect(await verify.verify(token, now)).toMatchObject({ reason: 'invalid_token', detail: 'kid' })
  })

  it('never takes one token for another, and holds no more than it may', async () => {
    const verify = mandateVerifier({ keyring: (id) => keyrings.get(id), capacity: 3 })
    const tokens = Array.from({ length: 6 }, () => newId('application')).map((id) => ({
      id,
      token: signJws(key, claimsFor(zone, id, now)),
    }))
    for (const round of [1, 2]) {
      for (const { id, token } of round === 1 ? tokens : tokens.toReversed()) {
        const result = await verify.verify(token, now)
        expect(result.ok && result.value.claims.client_id).toBe(id)
      }
    }
    expect(verify.cached()).toBe(3)
  })

  it('does not remember what was refused', async () => {
    const verify = verifier()
    await verify.verify(signJws(foreignKey, good()), now)
    expect(verify.cached()).toBe(0)
  })
})

describe('an unknown key [P-012]', () => {
  function counting(outcome: () => Promise<void>) {
    const fetched: ZoneId[] = []
    let at = 0
    const refetch = keyRefetcher(
      (id) => {
        fetched.push(id)
        return outcome()
      },
      () => at,
    )
    return { fetched, verify: mandateVerifier({ keyring: (id) => keyrings.get(id), refetch }).verify, turn: (ms: number) => (at += ms) }
  }
  const rotated = signingKey()

  it('is fetched once, and found', async () => {
    const { fetched, verify } = counting(async () => {
      keyrings.set(zone.id, zoneKeyring({ ...zone, keys: [key.jwk, rotated.jwk] }))
    })
    const results = await Promise.all(Array.from({ length: 20 }, () => verify(signJws(rotated, good()), now)))
    expect(results.every((result) => result.ok)).toBe(true)
    expect(fetched).toEqual([zone.id])
  })

  it('is not asked for again within 30 s', async () => {
    const { fetched, verify, turn } = counting(async () => {})
    for (let i = 0; i < 10; i++)
      expect(await verify(signJws(signingKey(), good()), now)).toMatchObject({ reason: 'invalid_token', detail: 'kid' })
    expect(fetched).toHaveLength(1)
    turn(29_999)
    await verify(signJws(rotated, good()), now)
    expect(fetched).toHaveLength(1)
    turn(1)
    await verify(signJws(rotated, good()), now)
    expect(fetched).toHaveLength(2)
  })

  it('while the source is away is 503, not a bad signature', async () => {
    const { verify } = counting(() => Promise.reject(new Error('away')))
    expect(await verify(signJws(rotated, good()), now)).toMatchObject({ reason: 'keys_unavailable' })
    expect(await verify(signJws(rotated, good()), now)).toMatchObject({ reason: 'keys_unavailable' })
  })

  it('of a zone nobody knows steers no fetch', async () => {
    const { fetched, verify } = counting(async () => {})
    for (let i = 0; i < 200; i++) await verify(signJws(rotated, good({ zone: newId('zone') })), now)
    expect(fetched).toEqual([])
  })
})

it('keys that are not EC P-256 for signing are left out of a keyring', () => {
  const keyring = zoneKeyring({
    ...zone,
    keys: [
      key.jwk,
      { kty: 'oct', kid: 'a', k: 'c2VjcmV0' },
      { ...nextKey.jwk, kid: 'b', use: 'enc' },
      { ...nextKey.jwk, kid: 'c', alg: 'ES384' },
      { kty: 'EC', crv: 'P-256', kid: 'd', x: 'AA', y: 'AA' },
    ],
  })
  expect([...keyring.keys.keys()]).toEqual([key.kid])
})
