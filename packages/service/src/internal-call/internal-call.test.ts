import { randomBytes } from 'node:crypto'
import { type KeyRing, keyRing, ok, refuse } from '@caracal/core'
import Type from 'typebox'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  createInternalClient,
  createInternalVerifier,
  createLogger,
  createMetrics,
  type InternalClient,
  internal,
  type RunningService,
  route,
  startService,
} from '../index.ts'
import { createNonceMemory } from './nonce-memory.ts'
import { CALLER, NONCE, SIGNATURE, signRequest, TIMESTAMP } from './signature.ts'

const OLD = randomBytes(32)
const NEW = randomBytes(32)
const Echo = Type.Object({ said: Type.String(), caller: Type.String() })

const handler = (request: { body: { say: string }; principal: { kind: string } }) => {
  if (request.body.say === 'refuse') return refuse('invalid_target', 'no such thing', { hint: 'x' })
  const caller = request.principal.kind === 'internal' && 'caller' in request.principal ? String(request.principal.caller) : ''
  return ok({ said: request.body.say, caller })
}
const row = {
  who: internal('gateway', 'api'),
  exposure: 'cluster',
  summary: 'Echo',
  body: Type.Object({ say: Type.String() }),
  reply: { 200: Echo },
} as const

describe('internal calls', () => {
  let service: RunningService
  const clock = Date.now()
  let ring: KeyRing = keyRing(OLD)
  const clients: InternalClient[] = []
  const client = (keys: KeyRing, caller = 'gateway', baseUrl = service.address.url) => {
    const made = createInternalClient({ baseUrl, caller, keys: () => keys, now: () => clock, timeoutMs: 2_000 })
    clients.push(made)
    return made
  }
  beforeAll(async () => {
    service = await startService({
      name: 'sts',
      version: { version: '1' },
      host: '127.0.0.1',
      port: 0,
      metricsPort: null,
      routes: [
        route({ ...row, method: 'POST', path: '/internal/echo', handle: handler }),
        route({ ...row, method: 'POST', path: '/internal/sealed', sealed: true, handle: handler }),
      ],
      internal: createInternalVerifier({ keys: () => ring, now: () => clock }),
      checks: [],
      metrics: createMetrics({ service: 'sts', version: '1', mode: 'dev' }),
      logger: createLogger({ name: 'sts', level: 'silent' }),
    })
  })
  afterAll(async () => {
    await Promise.all(clients.map((one) => one.close()))
    await service.stop()
  })

  const signed = (
    body: string,
    change: Partial<Record<'caller' | 'timestamp' | 'nonce' | 'path' | 'signature' | 'body' | 'key', string>> = {},
  ) => {
    const parts = {
      caller: change.caller ?? 'gateway',
      method: 'POST',
      path: change.path ?? '/internal/echo',
      timestamp: change.timestamp ?? String(clock),
      nonce: change.nonce ?? randomBytes(18).toString('base64url'),
    }
    const key = change.key === undefined ? keyRing(OLD).current : keyRing(Buffer.from(change.key, 'hex')).current
    return {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        [CALLER]: parts.caller,
        [TIMESTAMP]: parts.timestamp,
        [NONCE]: parts.nonce,
        [SIGNATURE]: change.signature ?? signRequest(key, parts, Buffer.from(body)),
      },
      body: change.body ?? body,
    }
  }
  const BODY = '{"say":"hi"}'
  const send = async (init: RequestInit) => (await fetch(`${service.address.url}/internal/echo`, init)).status

  it('carries a body there and back, plain and sealed', async () => {
    const one = client(keyRing(OLD))
    expect(await one.call('/internal/echo', { say: 'hi' }, { reply: Echo })).toEqual(ok({ said: 'hi', caller: 'gateway' }))
    expect(await one.call('/internal/sealed', { say: 'secret' }, { reply: Echo, sealed: true })).toEqual(
      ok({ said: 'secret', caller: 'gateway' }),
    )
    expect(await one.call('/internal/sealed', { say: 'refuse' }, { reply: Echo, sealed: true })).toEqual(
      refuse('invalid_target', 'no such thing', { hint: 'x' }),
    )
  })

  it('accepts what is in order', async () => expect(await send(signed(BODY))).toBe(200))

  it.each([
    ['no headers', () => ({ method: 'POST', headers: { 'content-type': 'application/json' }, body: BODY }), 401],
    ['another key', () => signed(BODY, { key: NEW.toString('hex') }), 401],
    ['another body', () => signed(BODY, { body: '{"say":"ho"}' }), 401],
    ['a signature for another path', () => signed(BODY, { path: '/internal/sealed' }), 401],
    ['a caller of another row', () => signed(BODY, { caller: 'audit' }), 403],
    ['a timestamp 61 s ago', () => signed(BODY, { timestamp: String(clock - 61_000) }), 401],
    ['a timestamp 61 s ahead', () => signed(BODY, { timestamp: String(clock + 61_000) }), 401],
    ['a timestamp in seconds', () => signed(BODY, { timestamp: String(Math.floor(clock / 1000)) }), 401],
    ['a short nonce', () => signed(BODY, { nonce: 'abc' }), 401],
    ['another spelling of the signature', () => signed(BODY, { signature: `${'A'.repeat(42)}=` }), 401],
  ])('refuses %s', async (_name, init, status) => {
    expect(await send(init())).toBe(status)
  })

  it('refuses the same request twice, and a body that is not sealed where it must be', async () => {
    const init = signed(BODY)
    expect([await send(init), await send(init)]).toEqual([200, 401])
    const plain = await fetch(`${service.address.url}/internal/sealed`, {
      ...signed(BODY, { path: '/internal/sealed' }),
    })
    expect(plain.status).toBe(415)
  })

  it('believes both keys while replicas change over, in every order', async () => {
    ring = keyRing(NEW, OLD)
    expect(await client(keyRing(OLD)).call('/internal/sealed', { say: 'a' }, { reply: Echo, sealed: true })).toMatchObject({ ok: true })
    expect(await client(keyRing(NEW, OLD)).call('/internal/echo', { say: 'a' }, { reply: Echo })).toMatchObject({ ok: true })
    ring = keyRing(NEW)
    expect(await client(keyRing(OLD)).call('/internal/echo', { say: 'a' }, { reply: Echo })).toEqual(refuse('unauthenticated'))
    ring = keyRing(OLD)
  })

  it('is a typed refusal when the other side is away, slow or answers something else', async () => {
    const away = client(keyRing(OLD), 'gateway', 'http://127.0.0.1:1')
    expect(await away.call('/internal/echo', { say: 'a' }, { reply: Echo })).toEqual(refuse('sts_unavailable'))
    const other = await client(keyRing(OLD)).call('/internal/echo', { say: 'a' }, { reply: Type.Object({ nothing: Type.String() }) })
    expect(other).toMatchObject({ ok: false, reason: 'sts_unavailable' })
  })

  it('does not believe an answer that is not signed for its request', async () => {
    const { createServer } = await import('node:http')
    const forged = createServer((_request, response) => {
      response.setHeader(SIGNATURE, randomBytes(32).toString('base64url'))
      response.end('{"said":"hi","caller":"x"}')
    })
    await new Promise<void>((resolve) => forged.listen(0, '127.0.0.1', resolve))
    const { port } = forged.address() as { port: number }
    const result = await client(keyRing(OLD), 'gateway', `http://127.0.0.1:${port}`).call('/internal/echo', { say: 'a' }, { reply: Echo })
    expect(result).toEqual(refuse('sts_unavailable', 'the answer is not signed'))
    forged.close()
    forged.closeAllConnections()
  })

  it('remembers nonces for the whole window, never forever, and refuses rather than forgets', () => {
    let now = 0
    const memory = createNonceMemory({ windowMs: 120_000, capacity: 3, now: () => now })
    expect(memory.claim('a')).toBe('new')
    now = 119_999
    expect(memory.claim('a')).toBe('seen')
    expect([memory.claim('b'), memory.claim('c'), memory.claim('d')]).toEqual(['new', 'new', 'full'])
    now = 120_000
    expect(memory.claim('b')).toBe('seen')
    now = 400_000
    expect(memory.claim('a')).toBe('new')
  })
})
