import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { calculateJwkThumbprint, type JWK, jwtVerify, SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import { JWT_ALGORITHMS, type JwtAlgorithm, readJwtKeys } from './jwt-keys.ts'
import { jwtVerifier } from './verify-jwt.ts'

const NOW = 1_700_000_000
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const KEYS: Readonly<Record<string, { publicKey: KeyObject; privateKey: KeyObject }>> = {
  RS: rsa,
  PS: rsa,
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ES384: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  ES512: generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  EdDSA: generateKeyPairSync('ed25519'),
}
const keysOf = (algorithm: JwtAlgorithm) => {
  const found = KEYS[algorithm] ?? KEYS[algorithm.slice(0, 2)]
  if (found === undefined) throw new Error(algorithm)
  return found
}
const pem = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' }).toString()
const token = (algorithm: JwtAlgorithm, key = keysOf(algorithm).privateKey, kid?: string) =>
  new SignJWT({ sub: 'agent', exp: NOW + 60 }).setProtectedHeader({ alg: algorithm, ...(kid === undefined ? {} : { kid }) }).sign(key)
const verifierOf = (text: string, algorithm: JwtAlgorithm) => {
  const read = readJwtKeys(text, algorithm)
  if ('fault' in read) throw new Error(read.fault)
  return jwtVerifier({ algorithm, skew: 60 }, read.keys)
}

describe('tokens of another issuer', () => {
  test('[4-14] what jose signs is taken, for each algorithm; what jose refuses is refused', async () => {
    for (const algorithm of JWT_ALGORITHMS) {
      const { publicKey } = keysOf(algorithm)
      const verifier = verifierOf(pem(publicKey), algorithm)
      const good = await token(algorithm)
      const found = verifier.verify(good, NOW)
      const { kty, crv, x, y, n, e } = publicKey.export({ format: 'jwk' })
      expect(found, algorithm).toMatchObject({
        ok: true,
        value: { application: 'agent', keyId: await calculateJwkThumbprint({ kty, crv, x, y, n, e } as JWK) },
      })
      for (const other of JWT_ALGORITHMS) {
        const foreign = await token(other)
        const jose = await jwtVerify(foreign, publicKey, { algorithms: [algorithm], currentDate: new Date(NOW * 1000) }).then(
          () => true,
          () => false,
        )
        expect(verifier.verify(foreign, NOW).ok, `${other} as ${algorithm}`).toBe(jose)
      }
    }
  })

  test('a token is verified again with other keys, and its times at each use', async () => {
    const verifier = verifierOf(pem(rsa.publicKey), 'RS256')
    const good = await token('RS256')
    expect(verifier.verify(good, NOW).ok).toBe(true)
    expect(verifier.knows(good)).toBe(true)
    expect(verifier.verify(good, NOW + 119).ok).toBe(true)
    expect(verifier.verify(good, NOW + 120)).toMatchObject({ ok: false, detail: 'the token has expired' })
    verifier.use([])
    expect(verifier.knows(good)).toBe(false)
    expect(verifier.verify(good, NOW).ok).toBe(false)
  })
})

describe('keys of a file', () => {
  const jwk = (key: KeyObject, more: object = {}) => ({ ...key.export({ format: 'jwk' }), ...more })
  const other = generateKeyPairSync('rsa', { modulusLength: 2048 })

  test('several stand beside each other, in PEM or in a set where the key id picks one', async () => {
    const both = verifierOf(pem(rsa.publicKey) + pem(other.publicKey), 'RS256')
    expect(both.verify(await token('RS256'), NOW).ok).toBe(true)
    expect(both.verify(await token('RS256', other.privateKey), NOW).ok).toBe(true)
    const keys = [
      jwk(rsa.publicKey, { kid: 'a', use: 'sig' }),
      jwk(other.publicKey, { kid: 'b', alg: 'RS256' }),
      jwk(keysOf('ES256').publicKey, { kid: 'c' }),
      jwk(other.publicKey, { kid: 'd', use: 'enc' }),
    ]
    const set = verifierOf(JSON.stringify({ keys }), 'RS256')
    expect(set.verify(await token('RS256', rsa.privateKey, 'a'), NOW).ok).toBe(true)
    expect(set.verify(await token('RS256', other.privateKey, 'b'), NOW).ok).toBe(true)
    expect(set.verify(await token('RS256', other.privateKey, 'a'), NOW).ok).toBe(false)
    expect(set.verify(await token('RS256', other.privateKey, 'd'), NOW).ok).toBe(false)
  })

  const small = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const wrong: readonly [what: string, text: string, algorithm: JwtAlgorithm, fault: RegExp][] = [
    ['nothing', '', 'RS256', /must be public keys in PEM/],
    ['words', 'hello', 'RS256', /must be public keys in PEM/],
    ['a private key', rsa.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), 'RS256', /private key/],
    [
      'a private key beside a public one',
      pem(rsa.publicKey) + rsa.privateKey.export({ type: 'pkcs1', format: 'pem' }),
      'RS256',
      /private key/,
    ],
    ['a small key', pem(small.publicKey), 'RS256', /2048 bits/],
    ['an RSA key for ES256', pem(rsa.publicKey), 'ES256', /prime256v1/],
    ['another curve', pem(keysOf('ES384').publicKey), 'ES256', /prime256v1/],
    ['an EC key for EdDSA', pem(keysOf('ES256').publicKey), 'EdDSA', /Ed25519/],
    ['a broken PEM', pem(rsa.publicKey).replace(/[A-Za-z0-9]{20}/, 'x'), 'RS256', /cannot be read|must be/],
    ['a set without keys', '{"keys":[]}', 'RS256', /holds no public key/],
    ['no set', '{"key":1}', 'RS256', /is not a JWK Set/],
    ['a set of private keys', JSON.stringify({ keys: [jwk(rsa.privateKey)] }), 'RS256', /holds no public key/],
    ['a set of secrets', '{"keys":[{"kty":"oct","k":"AAAA"}]}', 'RS256', /holds no public key/],
  ]
  test.each(wrong)('%s is refused in words', (_, text, algorithm, fault) => {
    const read = readJwtKeys(text, algorithm)
    expect('fault' in read ? read.fault : 'taken').toMatch(fault)
  })
})
