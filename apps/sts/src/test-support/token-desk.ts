import { generateKeyPairSync } from 'node:crypto'
import { type Application, REASONS, type Reason, type Resource, type Session, type Zone } from '@caracal/core'
import { expect } from 'vitest'
import { openWorld, type World } from './world.ts'

/** One scope for each thing that a decision can be. */
export const POLICY = (resource: string) => `
kind: Policy
name: table
rules:
  - { id: read, allow: [read], on: ["*"], for: { any: true } }
  - { id: frozen, deny: [frozen], on: ["*"], for: { any: true } }
  - { id: held, hold: [held], on: ["${resource}"], for: { any: true }, approval: { tier: ops, approvers: ["role:approver"], ttl: 15m, distinctFromRequester: true } }
  - { id: bound, allow: [bound], on: ["${resource}"], for: { any: true }, limits: { senderConstrained: true } }
`

export const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
export const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
export const ASSERTION = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

export type Fields = Record<string, string | undefined>

export let world: World
export let zone: Zone
export let other: Zone
export let agent: Application & { readonly secret: string }
export let peer: Application & { readonly secret: string }
export let stranger: Application & { readonly secret: string }
export let resource: Resource
export let foreign: Resource
export let session: Session
export const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })

/** An STS with two zones, and who asks it for tokens: what the tests of refusals start from. */
export async function openTokenDesk(): Promise<void> {
  world = await openWorld()
  zone = await world.zone()
  other = await world.zone()
  agent = await world.application(zone.id)
  peer = await world.application(zone.id)
  stranger = await world.application(other.id)
  resource = await world.resource(zone.id, { scopes: ['read', 'write', 'frozen', 'held', 'bound'] })
  foreign = await world.resource(other.id)
  await world.policy(zone.id, POLICY(resource.identifier))
  await world.jwk(agent, { ...pair.publicKey.export({ format: 'jwk' }), kty: 'EC', kid: 'k1', alg: 'ES256' })
  session = await world.session(agent)
}

/** A good request with some fields changed; undefined takes one away. */
export function form(change: Fields = {}): Record<string, string> {
  const fields: Fields = {
    grant_type: 'client_credentials',
    client_id: agent.id,
    client_secret: agent.secret,
    resource: resource.identifier,
    scope: 'read',
    ...change,
  }
  return Object.fromEntries(Object.entries(fields).filter((one): one is [string, string] => one[1] !== undefined))
}

/** A mandate for such a request. */
export const token = async (change: Fields = {}): Promise<string> => {
  const response = await world.post('/oauth/2/token', form(change))
  const body = (await response.json()) as { access_token?: string }
  if (body.access_token === undefined) throw new Error(JSON.stringify(body))
  return body.access_token
}

/** The refusal as RFC 6749 §5.2 and we spell it. */
export async function refused(response: Response, reason: Reason, detail?: string): Promise<void> {
  const body = (await response.json()) as Record<string, unknown>
  const entry = REASONS[reason]
  expect([response.status, body.code, body.error], JSON.stringify(body)).toEqual([entry.status, reason, entry.oauth])
  expect(body.request_id).toBe(response.headers.get('x-request-id'))
  if (detail !== undefined) expect(body.error_description).toContain(detail)
  expect(response.headers.get('cache-control')).toBe('no-store')
  expect(response.headers.get('content-type')).toMatch(/^application\/json/)
  expect(response.headers.get('x-caracal-source')).toBe('sts')
  expect(response.headers.get('www-authenticate') !== null).toBe(entry.status === 401)
  if (entry.status === 429 || entry.status === 503) expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0)
}
