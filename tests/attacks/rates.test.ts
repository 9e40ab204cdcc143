import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { RunningService } from '@caracal/service'
import { Agent, request } from 'undici'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openWorld, type World } from '../../apps/sts/src/test-support/world.ts'
import { sharedKeys, startGatewayBeside } from './gateway-beside.ts'
import { until } from './range.ts'

const RATE = 5
const PROXY = '127.0.0.9'

let world: World
let gateway: RunningService
let upstream: Server
let zone: string
let audience: string
/** Calls that reached the upstream. */
const seen: string[] = []
const agents = new Map<string, Agent>()

beforeAll(async () => {
  upstream = createServer((incoming, answer) => {
    seen.push(incoming.url ?? '')
    answer.end('ok')
  })
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
  const keys = sharedKeys()
  world = await openWorld({ environment: keys })
  const { id } = await world.zone()
  zone = id
  const resource = await world.resource(id, {
    name: 'limited',
    upstream: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`,
    egressAllow: ['127.0.0.0/8'],
    scopes: ['use'],
  })
  audience = resource.identifier
  await world.policy(id, 'kind: Policy\nname: all\nrules:\n  - { id: all, allow: ["*"], on: ["*"], for: { any: true } }\n')
  gateway = await startGatewayBeside(world, {
    ...keys,
    APPLICATION_RATE: String(RATE),
    UNPROVEN_RATE: String(RATE),
    TRUSTED_PROXIES: `${PROXY}/32`,
  })
}, 120_000)
afterAll(async () => {
  await Promise.all([...agents.values()].map((agent) => agent.close()))
  await gateway?.stop()
  await world?.close()
  upstream?.close()
})

type Client = Awaited<ReturnType<World['application']>>
const client = () => world.application(zone as Client['zone'])
async function mandate(of: Client, more: Record<string, string> = {}): Promise<string> {
  const { access_token, code } = await world.ask(of, { resource: audience, ...more })
  if (access_token === undefined) throw new Error(code)
  return access_token
}

async function call(token: string, options: { from?: string; forwarded?: string } = {}) {
  const from = options.from ?? '127.0.0.1'
  const dispatcher = agents.get(from) ?? new Agent({ localAddress: from, connections: 20 })
  agents.set(from, dispatcher)
  const answer = await request(`${gateway.address.url}/r/limited/x`, {
    dispatcher,
    headers: { authorization: `Bearer ${token}`, ...(options.forwarded === undefined ? {} : { 'x-forwarded-for': options.forwarded }) },
  })
  const text = await answer.body.text()
  const code = answer.statusCode === 200 ? 'ok' : (JSON.parse(text) as { code: string }).code
  return { status: answer.statusCode, code, headers: answer.headers }
}
const times = <T>(count: number, make: (at: number) => Promise<T>) => Promise.all(Array.from({ length: count }, (_, at) => make(at)))
const count = (answers: readonly { readonly code: string }[], code: string) => answers.filter((one) => one.code === code).length
/** A token of the right form that nobody signed. */
const forged = (token: string, at: number) => `${token.split('.').slice(0, 2).join('.')}.${Buffer.alloc(64, at + 1).toString('base64url')}`

async function buckets(kind: string): Promise<number> {
  const text = await (await fetch(`${gateway.metricsAddress?.url}/metrics`)).text()
  return Number(new RegExp(`^caracal_gateway_rate_buckets\\{kind="${kind}"\\} (\\d+)$`, 'm').exec(text)?.[1])
}

describe('an Application above its rate', () => {
  test('is refused with 429 and when to come back, counted once per call, while others go on [P-067]', async () => {
    const [busy, other] = await Promise.all([client(), client()])
    const tokens = await times(3, () => mandate(busy))
    const quiet = await mandate(other)
    seen.length = 0
    const began = performance.now()
    // Its mandates share one bucket: more of them buy nothing.
    const answers = await times(40, (at) => call(tokens[at % 3] ?? ''))
    const seconds = (performance.now() - began) / 1000
    const passed = count(answers, 'ok')
    expect(passed).toBeGreaterThanOrEqual(RATE)
    expect(passed).toBeLessThanOrEqual(RATE + seconds * RATE + 1)
    expect(count(answers, 'rate_limited')).toBe(40 - passed)
    expect(seen).toHaveLength(passed)
    const refused = answers.find(({ status }) => status === 429)
    expect(Number(refused?.headers['retry-after'])).toBeGreaterThanOrEqual(1)
    expect(refused?.headers).toMatchObject({ 'x-caracal-source': 'gateway', 'x-caracal-decision': 'deny' })
    expect((await call(quiet)).status).toBe(200)
    await until(
      () => call(tokens[0] ?? ''),
      ({ status }) => status === 200,
    )
    expect(await buckets('application')).toBeGreaterThanOrEqual(2)
  }, 120_000)

  test('keeps its single-use mandate: nothing is consumed by a refusal [P-066]', async () => {
    const busy = await client()
    const many = await mandate(busy)
    const { once } = await until(
      async () => {
        const fresh = await mandate(busy, { once: 'true' })
        await times(RATE * 2, () => call(many))
        return { once: fresh, code: (await call(fresh)).code }
      },
      ({ code }) => code === 'rate_limited',
    )
    await until(
      () => call(once),
      ({ status }) => status === 200,
    )
    expect((await call(once)).code).not.toBe('ok')
  }, 120_000)
})

describe('a source whose mandates do not hold', () => {
  test('is refused before any signature is checked; mandates in use and other sources go on [P-067] [P-066]', async () => {
    const [one, two] = await Promise.all([client(), client()])
    const [used, fresh] = await Promise.all([mandate(one), mandate(two)])
    expect((await call(used)).status).toBe(200)
    const answers = await times(60, (at) => call(forged(used, at), { forwarded: `203.0.113.${at}` }))
    // A forged X-Forwarded-For buys nothing: the peer is no proxy.
    expect(count(answers, 'invalid_token')).toBeGreaterThanOrEqual(RATE)
    expect(count(answers, 'rate_limited')).toBeGreaterThan(0)
    expect(count(answers, 'invalid_token') + count(answers, 'rate_limited')).toBe(60)
    const refused = answers.find(({ status }) => status === 429)
    expect(Number(refused?.headers['retry-after'])).toBeGreaterThanOrEqual(1)
    await until(
      async () => {
        await times(RATE * 4, (at) => call(forged(used, at)))
        return { used: (await call(used)).code, fresh: (await call(fresh, { from: '127.0.0.2' })).code }
      },
      ({ used: here, fresh: elsewhere }) => here === 'ok' && elsewhere === 'ok',
    )
    expect(await buckets('source')).toBeGreaterThanOrEqual(1)
  }, 120_000)

  test('behind a configured proxy it is the client that counts, and what the client itself wrote before it does not [P-067]', async () => {
    const token = await mandate(await client())
    const bad = (forwarded: string) => times(60, (at) => call(forged(token, at), { from: PROXY, forwarded }))
    expect(count(await bad('198.51.100.1'), 'rate_limited')).toBeGreaterThan(0)
    // Another client behind the same proxy has its own allowance, and a forged beginning of the list is not looked at.
    expect((await call(forged(token, 1), { from: PROXY, forwarded: '198.51.100.2' })).code).toBe('invalid_token')
    const spoofed = await times(60, (at) => call(forged(token, at), { from: PROXY, forwarded: `198.51.100.${100 + at}, 198.51.100.3` }))
    expect(count(spoofed, 'rate_limited')).toBeGreaterThan(0)
  }, 120_000)
})
