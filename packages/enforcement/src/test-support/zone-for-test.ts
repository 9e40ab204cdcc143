import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import {
  type Application,
  type ApplicationId,
  type MandateClaims,
  newId,
  type Operation,
  type PublicJwk,
  RESOURCE_DEFAULTS,
  type Resource,
  type ZoneId,
  type ZoneSnapshot,
} from '@caracal/core'

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

const stored = { version: 1, createdAt: 0, updatedAt: 0 }

export function applicationNamed(zone: ZoneId, name: string, labels: readonly string[] = []): Application {
  return { ...stored, id: newId('application'), zone, name, labels }
}

export function resourceNamed(zone: ZoneId, name: string, over: Partial<Resource> = {}): Resource {
  return {
    ...stored,
    ...RESOURCE_DEFAULTS,
    id: newId('resource'),
    zone,
    name,
    kind: 'http',
    identifier: `https://${name}.example/`,
    upstream: `https://${name}.internal/`,
    scopes: ['read', 'write'],
    operations: [operation('GET /items/{id} read'), operation('POST /items write')],
    provider: null,
    egressAllow: [],
    ...over,
  }
}

/** `GET /items/{id} read`: method, path template, scope. */
export function operation(line: string): Operation {
  const [method = '', path = '', scope = ''] = line.split(' ')
  return { method, path, scope }
}

export function zoneSnapshot(over: Partial<ZoneSnapshot> = {}): ZoneSnapshot {
  const id = over.id ?? newId('zone')
  return {
    id,
    name: 'main',
    labels: [],
    issuer: `https://sts.example/zones/${id}`,
    issuerAliases: [],
    keys: [],
    version: 1,
    applications: [],
    resources: [],
    providers: [],
    policy: null,
    ...over,
  }
}

/** Claims of a good mandate of this zone at `now` (seconds), with any of them replaced. */
export function claimsFor(
  zone: Pick<ZoneSnapshot, 'id' | 'issuer'>,
  application: ApplicationId,
  now: number,
  over: Partial<Record<keyof MandateClaims, unknown>> = {},
): Record<string, unknown> {
  return {
    iss: zone.issuer,
    sub: application,
    aud: 'https://bank.example/',
    client_id: application,
    scope: 'read write',
    iat: now,
    nbf: now,
    exp: now + 300,
    jti: newId('mandate'),
    zone: zone.id,
    txn: newId('transaction'),
    ...over,
  }
}
