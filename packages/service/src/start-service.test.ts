import { setTimeout as sleep } from 'node:timers/promises'
import { newId } from '@caracal/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createMetrics, type RunningService } from './index.ts'
import { exchange, lines, OTHER, start, ZONE } from './start-service.fixture.ts'

describe('a service over real sockets', () => {
  let service: RunningService
  beforeAll(async () => {
    service = await start()
  })
  afterAll(() => service.stop())

  const call = (path: string, init: RequestInit & { token?: string } = {}) =>
    fetch(service.address.url + path, {
      ...init,
      headers: { ...(init.token === undefined ? {} : { authorization: `Bearer ${init.token}` }), ...init.headers },
    })
  const post = (path: string, body: unknown, token = 'all') =>
    call(path, {
      method: 'POST',
      token,
      headers: { 'content-type': 'application/json' },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    })

  it('answers probes, version and its own description without a credential', async () => {
    expect(await (await call('/livez')).json()).toEqual({ live: true })
    expect(await (await call('/health')).json()).toEqual({ status: 'ok', service: 'api', version: '1.2.3', checks: {} })
    expect(await (await call('/ready')).json()).toEqual({ ready: true })
    expect(await (await call('/version')).json()).toEqual({ service: 'api', version: '1.2.3' })
    expect(await (await call('/metrics')).status).toBe(404)
    const document = (await (await call('/openapi.json')).json()) as { openapi: string; paths: Record<string, unknown> }
    expect(document.openapi).toBe('3.1.0')
    expect(Object.keys(document.paths)).toEqual([
      '/v1/zones/{zone}/things/{name}',
      '/v1/zones/{zone}/things',
      '/oauth/2/token',
      '/v1/slow',
      '/v1/feed',
    ])
  })

  it('[P-121] refuses every row that is not for anyone without a credential', async () => {
    for (const row of service.routes().filter((one) => !one.who.some((who) => who.kind === 'anyone'))) {
      const response = await call(row.path.replaceAll(/:\w+/g, 'x'), { method: row.method })
      expect([row.path, response.status]).toEqual([row.path, 401])
      expect(response.headers.get('www-authenticate')).not.toBeNull()
      expect(response.headers.get('x-caracal-source')).toBe('api')
      expect(response.headers.get('x-request-id')).toMatch(/^req_/)
    }
  })

  it('[P-121] answers 401 before a byte of the body has arrived', async () => {
    const text = await exchange(
      service.address.port,
      `POST /v1/zones/${ZONE}/things HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1048576\r\n\r\n`,
    )
    expect(text).toMatch(/^HTTP\/1\.1 401 /)
    const large = await exchange(
      service.address.port,
      `POST /v1/zones/${ZONE}/things HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n`,
    )
    expect(large).toMatch(/^HTTP\/1\.1 401 /)
    expect(large.toLowerCase()).toContain('connection: close')
  })

  it('[P-121] says 404 for what matches no row and 405 with Allow for another method', async () => {
    expect((await call('/v1/nothing', { token: 'all' })).status).toBe(404)
    const other = await call(`/v1/zones/${ZONE}/things/abc`, { method: 'DELETE', token: 'all' })
    expect(other.status).toBe(405)
    expect(other.headers.get('allow')).toBe('GET, HEAD')
    expect(((await other.json()) as { code: string }).code).toBe('method_not_allowed')
    expect((await call('/ready', { method: 'POST' })).status).toBe(405)
  })

  it('[P-131] answers a foreign zone as one that does not exist', async () => {
    const bodies = await Promise.all(
      [OTHER, newId('zone'), 'zon_nonsense', 'x'].map(async (zone) => {
        const response = await call(`/v1/zones/${zone}/things/abc`, { token: 'view' })
        const { request_id: _id, ...body } = (await response.json()) as Record<string, unknown>
        return JSON.stringify([response.status, body])
      }),
    )
    expect(new Set(bodies).size).toBe(1)
    expect(bodies[0]).toContain('[404,')
  })

  it('[P-126] names every violation by pointer, unknown fields included, and no value', async () => {
    const response = await post(`/v1/zones/${ZONE}/things`, { name: '', size: 'hunter2hunter2', extra: 1, more: [{ at: 'c', 'x/y': 2 }] })
    expect(response.status).toBe(422)
    expect(response.headers.get('content-type')).toBe('application/problem+json')
    const body = (await response.json()) as { code: string; errors: { in: string; pointer: string; detail: string }[]; request_id: string }
    expect(body.code).toBe('validation_failed')
    expect(body.request_id).toBe(response.headers.get('x-request-id'))
    const pointers = body.errors.map((error) => error.pointer)
    expect(pointers).toEqual(expect.arrayContaining(['/name', '/size', '/extra', '/more/0/at', '/more/0/x~1y']))
    expect(JSON.stringify(body)).not.toContain('hunter2')
  })

  it.each([
    ['not JSON', '{', 'application/json', 400, 'malformed_json'],
    ['not UTF-8 JSON', '{"name":"__proto__","__proto__":{}}', 'application/json', 400, 'malformed_json'],
    ['nothing', '', 'application/json', 400, 'malformed_json'],
    ['an array', '[]', 'application/json', 422, 'validation_failed'],
    ['text', 'x', 'text/plain', 415, 'unsupported_media_type'],
    ['form', 'name=a', 'application/x-www-form-urlencoded', 415, 'unsupported_media_type'],
    ['other charset', '{}', 'application/json; charset=latin1', 415, 'unsupported_media_type'],
    ['too large', JSON.stringify({ name: 'x'.repeat(1_100_000), size: 1 }), 'application/json', 413, 'body_too_large'],
    ['bug', '{"name":"boom","size":1}', 'application/json', 500, 'internal_error'],
    ['store away', '{"name":"store","size":1}', 'application/json', 503, 'store_unavailable'],
    ['evidence', '{"name":"evidence","size":1}', 'application/json', 503, 'evidence_unavailable'],
    ['conflict', '{"name":"taken","size":1}', 'application/json', 409, 'conflict'],
  ])('[P-126] refuses a body that is %s', async (_name, body, type, status, code) => {
    const response = await call(`/v1/zones/${ZONE}/things`, { method: 'POST', token: 'all', headers: { 'content-type': type }, body })
    const found = (await response.json()) as { code: string; status: number; detail?: string }
    expect([response.status, found.code, found.status]).toEqual([status, code, status])
    expect(JSON.stringify(found)).not.toContain('hunter2')
    if (status === 503) expect(response.headers.get('retry-after')).toBe('1')
  })

  it('takes a good body, and query parameters by schema only', async () => {
    const made = await post(`/v1/zones/${ZONE}/things`, { name: 'a', size: 1 })
    expect([made.status, made.headers.get('etag'), await made.json()]).toEqual([201, '"1"', { name: 'a' }])
    const got = await call(`/v1/zones/${ZONE}/things/abc?deep=true`, { token: 'view' })
    expect(await got.json()).toEqual({ name: 'abc', deep: true, limit: 3 })
    expect((await call(`/v1/zones/${ZONE}/things/abc?wide=1`, { token: 'view' })).status).toBe(422)
    expect((await call(`/v1/zones/${ZONE}/things/abc?limit=6`, { token: 'view' })).status).toBe(422)
    expect((await post(`/v1/zones/${ZONE}/things`, { name: 'a', size: 1 }, 'view')).status).toBe(403)
  })

  it('[P-004] hands a form over with its repetitions and refuses in OAuth terms', async () => {
    const ask = (body: string) =>
      call('/oauth/2/token', { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body })
    expect(await (await ask('grant_type=a+b&resource=1&resource=2')).json()).toEqual({ grant: 'a b' })
    const doubled = await ask('grant_type=a&grant_type=b')
    expect([doubled.status, doubled.headers.get('cache-control')]).toEqual([400, 'no-store'])
    expect(await doubled.json()).toMatchObject({ error: 'invalid_request', code: 'duplicate_parameter' })
    const nobody = await ask('x=1')
    expect([nobody.status, nobody.headers.get('www-authenticate')]).toEqual([401, 'Basic realm="caracal", charset="UTF-8"'])
    expect(await nobody.json()).toMatchObject({ error: 'invalid_client' })
    expect((await ask('a=%zz')).status).toBe(400)
    expect((await ask(`a=${'x'.repeat(70_000)}`)).status).toBe(413)
    expect(
      (await call('/oauth/2/token?x=1', { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'a=b' }))
        .status,
    ).toBe(400)
    expect((await call('/oauth/2/token', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' })).status).toBe(415)
  })

  it('refuses two Authorization headers', async () => {
    const text = await exchange(
      service.address.port,
      'GET /v1/slow HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer all\r\nAuthorization: Bearer view\r\nConnection: close\r\n\r\n',
    )
    expect(text).toMatch(/^HTTP\/1\.1 400 /)
  })

  it('measures by route template and never by path', async () => {
    await call(`/v1/zones/${ZONE}/things/measured`, { token: 'view' })
    await call('/v1/unheard-of')
    const text = await (await fetch(`${service.metricsAddress?.url}/metrics`)).text()
    expect(text).toContain('caracal_http_request_seconds_count{route="/v1/zones/:zone/things/:name",method="GET",code="200"}')
    expect(text).toContain('route="unmatched"')
    expect(text).not.toContain('unheard-of')
    expect(text).toContain('caracal_build_info{role="api",version="1.2.3",mode="dev"} 1')
    expect(text).toMatch(/caracal_ready 1/)
    expect(text).toContain('caracal_log_dropped_total 0')
    expect((await fetch(`${service.metricsAddress?.url}/version`)).status).toBe(404)
    expect((await fetch(`${service.metricsAddress?.url}/ready`)).status).toBe(200)
  })

  it('[P-148] keeps the exception out of the answer and its secrets out of the log', () => {
    const broke = lines.filter((line) => line.includes('a handler broke'))
    expect(broke.length).toBeGreaterThan(0)
    expect(lines.join('')).not.toContain('hunter2')
  })
})

describe('stopping', () => {
  it('[P-145] turns unready, finishes calls in flight, ends streams, runs hooks in reverse and closes', async () => {
    const order: string[] = []
    const service = await start({
      metrics: createMetrics({ service: 'api', version: '1', mode: 'dev' }),
      drainDelayMs: 150,
      onStop: [
        { name: 'first', stop: () => order.push('first') },
        { name: 'broken', stop: () => Promise.reject(new Error('no')) },
        { name: 'second', stop: () => order.push('second') },
      ],
    })
    const headers = { authorization: 'Bearer all' }
    const feed = await fetch(`${service.address.url}/v1/feed`, { headers })
    const slow = fetch(`${service.address.url}/v1/slow`, { headers })
    await sleep(50)
    const stopping = service.stop()
    const ready = await fetch(`${service.address.url}/ready`)
    expect(ready.status).toBe(503)
    expect(await ready.json()).toEqual({ ready: false, reasons: ['draining'] })
    expect(ready.headers.get('connection')).toBe('close')
    expect(await (await slow).json()).toEqual({ done: true })
    expect(await feed.text()).toBe('data: one\n\n')
    const report = await stopping
    expect(report).toMatchObject({ cutConnections: 0, failedHooks: ['broken'] })
    expect(order).toEqual(['second', 'first'])
    expect(await service.stop()).toBe(report)
    await expect(fetch(`${service.address.url}/livez`)).rejects.toThrow()
    await expect(fetch(`${service.metricsAddress?.url}/livez`)).rejects.toThrow()
  })
})
