import { newId } from '@caracal/core'
import { CircuitBreaker, UpstreamPools, upstreamOf } from '@caracal/enforcement-point'
import { createEgressGuard } from '@caracal/service'
import { request } from 'undici'
import { afterEach, describe, expect, it } from 'vitest'
import { resourceFor, startDataPath, startUpstream } from './test-support/data-path.ts'

describe('CircuitBreaker', () => {
  function broken(to: 'connect' | 'answer') {
    let now = 0
    const breaker = new CircuitBreaker(() => now)
    for (let at = 0; at < 5; at++) {
      expect(breaker.admit()).toBe(true)
      breaker.failed(to)
    }
    return { breaker, pass: (ms: number) => (now += ms) }
  }

  it('opens after five failures in a row and then lets one probe pass each quarter of a second', () => {
    const { breaker, pass } = broken('connect')
    expect(breaker.admit()).toBe(false)
    pass(250)
    expect([breaker.admit(), breaker.admit(), breaker.admit()]).toEqual([true, false, false])
    breaker.failed('connect')
    pass(249)
    expect(breaker.admit()).toBe(false)
    pass(1)
    expect(breaker.admit()).toBe(true)
  })

  it('closes with the first connection when none could be made, so an outage ends within a second', () => {
    const { breaker, pass } = broken('connect')
    pass(250)
    breaker.admit()
    breaker.connected()
    expect([breaker.admit(), breaker.admit()]).toEqual([true, true])
  })

  it('closes only with an answer when answers were missing', () => {
    const { breaker, pass } = broken('answer')
    pass(250)
    breaker.admit()
    breaker.connected()
    expect(breaker.admit()).toBe(false)
    breaker.answered()
    expect(breaker.admit()).toBe(true)
  })

  it('failures with successes between them do not open it', () => {
    const breaker = new CircuitBreaker(() => 0)
    for (let at = 0; at < 20; at++) {
      breaker.failed('answer')
      if (at % 4 === 3) breaker.answered()
    }
    expect(breaker.open).toBe(false)
  })
})

describe('upstreamOf', () => {
  it.each([
    ['https://api.example', 'https://api.example', 'api.example', ''],
    ['https://api.example/', 'https://api.example', 'api.example', ''],
    ['http://api.example:8080/v2//', 'http://api.example:8080', 'api.example:8080', '/v2'],
    ['https://[2606:4700::1]:8443/a%2Fb/', 'https://[2606:4700::1]:8443', '[2606:4700::1]:8443', '/a%2Fb'],
  ])('%s', (url, origin, host, base) => {
    expect(upstreamOf(resourceFor(url))).toMatchObject({ ok: true, value: { origin, host, base } })
  })

  it.each([
    '',
    'api.example',
    'ftp://api.example',
    'https://u:p@api.example',
    'https://api.example?x',
    'https://api.example#x',
    'unix:///run/x',
  ])('%j is no upstream', (url) => {
    expect(upstreamOf(resourceFor(url))).toMatchObject({ ok: false, reason: 'upstream_not_allowed' })
  })

  it('zones, and resources with other allowances, share no connection', () => {
    const key = (more: object) => {
      const upstream = upstreamOf(resourceFor('https://api.example/a', more))
      return upstream.ok && upstream.value.key
    }
    expect(new Set([key({}), key({ upstream: 'https://api.example/b' })]).size).toBe(1)
    expect(new Set([key({}), key({ zone: newId('zone') }), key({ egressAllow: [] }), key({ upstream: 'http://api.example/' })]).size).toBe(
      4,
    )
  })
})

describe('UpstreamPools', () => {
  const opened: { close(): Promise<void> }[] = []
  afterEach(async () => {
    for (const one of opened.splice(0).reverse()) await one.close()
  })

  it('refuses what would wait too long, and closes what nobody uses', () => {
    let now = 0
    const pools = new UpstreamPools({ guard: createEgressGuard(), connections: 1, waiting: 1, idleMs: 1_000, monotonic: () => now })
    opened.push(pools)
    const upstream = upstreamOf(resourceFor('http://127.0.0.1:9'))
    if (!upstream.ok) throw new Error('not an upstream')
    const leases = [pools.lease(upstream.value), pools.lease(upstream.value)]
    expect(pools.lease(upstream.value)).toMatchObject({ ok: false, reason: 'overloaded' })
    now = 5_000
    pools.sweep()
    expect(pools.size()).toBe(1)
    for (const lease of leases) if (lease.ok) for (let twice = 0; twice < 2; twice++) lease.value.release()
    now = 6_001
    pools.sweep()
    expect(pools.size()).toBe(0)
  })

  it('an upstream that is back is used again as soon as a probe may go', async () => {
    const first = await startUpstream((_req, res) => res.end('up'))
    const path = await startDataPath({ resource: resourceFor(first.url) })
    opened.push(path)
    expect((await request(`${path.url}/r/notes/`)).statusCode).toBe(200)
    await first.close()
    for (let at = 0; at < 8; at++) expect((await request(`${path.url}/r/notes/`)).statusCode).toBe(502)
    const again = await startUpstream((_req, res) => res.end('up'), first.port)
    opened.push(again)
    const back = performance.now()
    let status = 0
    while (status !== 200) {
      status = (await request(`${path.url}/r/notes/`)).statusCode
      if (status !== 200) await new Promise((resolve) => setTimeout(resolve, 20))
    }
    expect(performance.now() - back).toBeLessThan(5_000)
  })
})
