import { setTimeout as sleep } from 'node:timers/promises'
import { ok, refuse } from '@caracal/core'
import Type from 'typebox'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  createLogger,
  createMetrics,
  type IdempotencyBegin,
  type IdempotencyStore,
  type KeptAnswer,
  type RunningService,
  roleInAnyZone,
  route,
  startService,
} from './index.ts'

/** The contract in memory: what the store on Postgres must do too. */
function memoryStore(): IdempotencyStore {
  const kept = new Map<string, { fingerprint: string; answer: KeptAnswer | null }>()
  return {
    async begin(scope, key, fingerprint): Promise<IdempotencyBegin> {
      const held = kept.get(`${scope} ${key}`)
      if (held === undefined) {
        kept.set(`${scope} ${key}`, { fingerprint, answer: null })
        return { state: 'claimed' }
      }
      if (held.fingerprint !== fingerprint) return { state: 'other_request' }
      return held.answer === null ? { state: 'in_flight' } : { state: 'answered', answer: held.answer }
    },
    async finish(scope, key, answer) {
      const held = kept.get(`${scope} ${key}`)
      if (held !== undefined) held.answer = answer
    },
    async abandon(scope, key) {
      kept.delete(`${scope} ${key}`)
    },
  }
}

describe('[P-125] Idempotency-Key', () => {
  let service: RunningService
  let made = 0
  beforeAll(async () => {
    service = await startService({
      name: 'api',
      version: { version: '1' },
      host: '127.0.0.1',
      port: 0,
      metricsPort: null,
      routes: [
        route({
          method: 'POST',
          path: '/v1/things',
          who: roleInAnyZone('operator'),
          summary: 'Make',
          exposure: 'public',
          idempotent: true,
          rate: 'mutation',
          body: Type.Object({ name: Type.String() }),
          reply: { 201: Type.Object({ number: Type.Integer() }) },
          handle: async (request) => {
            if (request.body.name === 'slow') await sleep(150)
            if (request.body.name === 'refused') return refuse('conflict')
            if (request.body.name === 'broken') throw new Error('bug')
            made += 1
            return ok({ number: made })
          },
        }),
      ],
      authenticator: {
        authenticate: ({ authorization }) =>
          ok({ kind: 'admin', id: authorization === 'b' ? 'coordinator' : 'bootstrap', name: '', roles: ['operator'], zone: null }),
      },
      idempotency: memoryStore(),
      rates: { mutation: { perSecond: 0.001, burst: 16 } },
      checks: [],
      metrics: createMetrics({ service: 'api', version: '1', mode: 'dev' }),
      logger: createLogger({ name: 'api', level: 'silent' }),
      checkReplies: true,
    })
  })
  afterAll(() => service.stop())

  const post = async (name: string, key?: string, who = 'a') => {
    const response = await fetch(`${service.address.url}/v1/things`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: who, ...(key === undefined ? {} : { 'idempotency-key': key }) },
      body: JSON.stringify({ name }),
    })
    const body = (await response.json()) as { number?: number; code?: string }
    return [response.status, body.number ?? body.code, response.headers.get('retry-after')]
  }

  it('gives the first answer again, per principal, and refuses the key for anything else', async () => {
    const first = await post('x', 'k1')
    expect(first).toEqual([201, 1, null])
    expect(await post('x', 'k1')).toEqual(first)
    expect(await post('y', 'k1')).toEqual([422, 'idempotency_key_reused', null])
    expect(await post('x', 'k1', 'b')).toEqual([201, 2, null])
    expect(await post('x')).toEqual([201, 3, null])
  })

  it('says so while the first is running', async () => {
    const slow = post('slow', 'k2')
    await sleep(50)
    expect(await post('slow', 'k2')).toEqual([409, 'idempotency_in_flight', '1'])
    expect((await slow)[0]).toBe(201)
    expect((await post('slow', 'k2'))[0]).toBe(201)
  })

  it('frees the key when nothing was changed', async () => {
    expect((await post('refused', 'k3'))[0]).toBe(409)
    expect((await post('x', 'k3'))[0]).toBe(201)
    expect((await post('broken', 'k4'))[0]).toBe(500)
    expect((await post('x', 'k4'))[0]).toBe(201)
  })

  it('does not take a key that could break a log line', async () => {
    expect((await post('x', 'a b'))[0]).toBe(400)
    expect((await post('x', 'k'.repeat(256)))[0]).toBe(400)
  })

  it('[P-118] limits by principal in local buckets and says when to come back', async () => {
    let last: unknown[] = []
    for (let i = 0; i < 20; i += 1) last = await post('refused')
    expect(last.slice(0, 2)).toEqual([429, 'rate_limited'])
    expect(Number(last[2])).toBeGreaterThan(100)
    expect((await post('x', undefined, 'b'))[0]).toBe(201)
  })
})
