import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import type { PublicJwk } from '@caracal/core'

export type SigningKey = { readonly kid: string; readonly privateKey: KeyObject; readonly jwk: PublicJwk }

/** A real ES256 key with the thumbprint of RFC 7638 as its `kid`. */
export function signingKey(): SigningKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { kty, crv, x, y } = publicKey.export({ format: 'jwk' })
  const kid = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url')
  return { kid, privateKey, jwk: { kty: 'EC', crv, x, y, kid, alg: 'ES256', use: 'sig' } }
}

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A compact JWS over any header and payload: right ones and wrong ones. */
export function signJws(key: SigningKey, payload: unknown, header: Record<string, unknown> = {}): string {
  const input = `${encode({ typ: 'at+jwt', alg: 'ES256', kid: key.kid, ...header })}.${encode(payload)}`
  const signature = sign('sha256', Buffer.from(input), { key: key.privateKey, dsaEncoding: 'ieee-p1363' })
  return `${input}.${signature.toString('base64url')}`
}
