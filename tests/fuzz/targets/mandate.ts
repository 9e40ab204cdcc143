import { createHmac } from 'node:crypto'
import { newId } from '@caracal/core'
import { mandateVerifier, parseJws, zoneKeyring } from '@caracal/enforcement'
import fc from 'fast-check'
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'
import { claimsFor, signingKey, signJws, zoneSnapshot } from '../../../packages/enforcement/src/test-support/zone-for-test.ts'
import { mutatedText } from '../mutate.ts'
import { same } from '../same.ts'
import { target } from '../target.ts'

const NOW = 1_700_000_000
const key = signingKey()
const stranger = signingKey()
const zone = zoneSnapshot({ keys: [key.jwk] })
const keyring = zoneKeyring(zone)
const claims = claimsFor(zone, newId('application'), NOW)
const good = [
  signJws(key, claims),
  signJws(key, { ...claims, once: true, cnf: { jkt: 'x' }, act: { sub: 'a', act: { sub: 'b' } }, later: [1] }),
  signJws(key, { ...claims, exp: NOW - 1, iat: NOW - 100 }),
]
const jwks = createLocalJWKSet({ keys: [key.jwk as never] })

const encode = (text: string) => Buffer.from(text).toString('base64url')
const header = fc.record(
  {
    typ: fc.constantFrom('at+jwt', 'JWT', 'AT+JWT', 'application/at+jwt', 1),
    alg: fc.constantFrom('ES256', 'none', 'HS256', 'es256', 'RS256', 'ES256K', null),
    kid: fc.constantFrom(key.kid, stranger.kid, '', '../../x', 1),
    crit: fc.constantFrom(['exp'], ['b64'], []),
    b64: fc.boolean(),
    jwk: fc.constant(stranger.jwk),
    jku: fc.constant('https://evil.example/keys'),
  },
  { requiredKeys: [] },
)
const oddClaim = fc.constantFrom<unknown>(
  undefined,
  null,
  '',
  'x',
  0,
  -1,
  2 ** 60,
  NOW + 10_000,
  1e300,
  true,
  [],
  {},
  [claims.aud, 'b'],
  claims.jti,
  { act: {} },
)
const payload = fc
  .dictionary(fc.constantFrom(...Object.keys(claims), 'ses', 'dlg', 'mnd', 'act', 'cnf', 'ctx', 'once'), oddClaim, { maxKeys: 2 })
  .map((over) => ({ ...claims, ...over }))

/** Tokens that somebody makes who does not hold the key, and tokens of the key with odd contents. */
const made = fc.oneof(
  fc.tuple(payload, header, fc.boolean()).map(([body, more, ours]) => signJws(ours ? key : stranger, body, more)),
  fc
    .tuple(header, payload, fc.constantFrom(...good))
    .map(
      ([more, body, token]) =>
        `${encode(JSON.stringify({ typ: 'at+jwt', alg: 'ES256', kid: key.kid, ...more }))}.${encode(JSON.stringify(body))}.${token.split('.')[2]}`,
    ),
  payload.map((body) => {
    const input = `${encode(JSON.stringify({ typ: 'at+jwt', alg: 'HS256', kid: key.kid }))}.${encode(JSON.stringify(body))}`
    return `${input}.${createHmac('sha256', JSON.stringify(key.jwk)).update(input).digest('base64url')}`
  }),
  mutatedText(good),
)

/** One for the whole run: what it remembers of good tokens must not help bad ones. */
const verifier = mandateVerifier({ keyring: (id) => (id === zone.id ? keyring : undefined) })

export const mandate = target(
  { name: 'mandate', guarantee: '[P-014] no mandate is accepted that jose refuses, and what is read of it is what jose reads', runs: 2500 },
  made,
  async (token) => {
    const parsed = parseJws(token)
    if (parsed.ok) {
      same(parsed.value.header, decodeProtectedHeader(token), 'header')
      same(parsed.value.payload, decodeJwt(token), 'payload')
    }
    const verdict = await verifier.verify(token, NOW)
    if (!verdict.ok) return
    const { payload: read, protectedHeader } = await jwtVerify(token, jwks, {
      algorithms: ['ES256'],
      typ: 'at+jwt',
      issuer: zone.issuer,
      currentDate: new Date(NOW * 1000),
      clockTolerance: 60,
      requiredClaims: ['iss', 'sub', 'aud', 'client_id', 'scope', 'iat', 'nbf', 'exp', 'jti', 'zone', 'txn'],
    })
    same(verdict.value.claims, read)
    same(Object.keys(protectedHeader).sort(), ['alg', 'kid', 'typ'])
    if (typeof read.aud !== 'string' || Number(read.exp) <= NOW) throw new Error('audience or time')
  },
)
