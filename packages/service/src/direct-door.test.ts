import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { ok, refuse } from '@caracal/core'
import Type from 'typebox'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { answer, anyone, createMetrics, form, oauthError, type RouteRow, type RunningService, role, route } from './index.ts'
import { exchange, lines, start } from './start-service.fixture.ts'

/** Handlers that wait to be let go on. */
const waiting: (() => void)[] = []
const seen: { id: string; source: string; theirs: string | undefined; signal: AbortSignal }[] = []

const row = (path: string, direct: boolean, more: Partial<RouteRow> = {}): RouteRow => ({
  ...route({
    method: 'POST',
    path,
    who: anyone,
    summary: 'A form',
    exposure: 'public',
    body: form(),
    reply: { 200: Type.Object({ said: Type.String() }) },
    refusal: oauthError,
    handle: async (request) => {
      seen.push({ id: request.id, source: request.source, theirs: request.clientRequestId, signal: request.signal })
      const say = request.body.get('say')?.[0] ?? ''
      if (say === 'boom') throw new Error('the database said: password=hunter2hunter2')
      if (say === 'away') throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
      if (say === 'wrong') return answer(200, { other: 1 } as never)
      if (say === 'no') return refuse('invalid_client', 'ein Grund: Übermut')
      if (say === 'own') return answer(200, { said: 'ü€😀' }, { 'cache-control': 'no-store', pragma: 'no-cache' })
      if (say === 'wait')
        await new Promise<void>((resolve) => {
          waiting.push(resolve)
        })
      return ok({ said: say })
    },
  }),
  ...(direct ? { direct: true as const } : {}),
  ...more,
})

const rows = [row('/direct', true), row('/routed', false)]
const metrics = createMetrics({ service: 'api', version: '1', mode: 'dev' })
let service: RunningService

beforeAll(async () => {
  service = await start({ routes: rows, metrics, trustedProxies: ['127.0.0.1/32'] })
})
afterAll(() => service?.stop())

const TYPE = 'Content-Type: application/x-www-form-urlencoded\r\n'
const post = (path: string, body: string, headers = TYPE) =>
  `POST ${path} HTTP/1.1\r\nHost: x\r\n${headers}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`

/** An answer without what is never twice the same. */
const plain = (text: string) =>
  text
    .replaceAll(/req_[0-9a-z]{26}/g, 'req')
    .replaceAll(/^date: .*$/gim, 'date')
    .split('\r\n')
    .map((line, at, all) => (at > 0 && at < all.indexOf('') ? line.replace(/^[^:]+/, (name) => name.toLowerCase()) : line))
const head = (text: string[]) => text.slice(0, text.indexOf('')).sort()
const body = (text: string[]) => text.slice(text.indexOf(''))

async function bothWays(request: (path: string) => string) {
  const [direct, routed] = await Promise.all(['/direct', '/routed'].map((path) => exchange(service.address.port, request(path))))
  return { direct: plain(direct ?? ''), routed: plain(routed ?? '') }
}

describe('a row with a direct way', () => {
  it.concurrent.each([
    ['a form', (path: string) => post(path, 'say=hello+world')],
    ['a form with a charset', (path: string) => post(path, 'say=a', 'content-type: application/x-www-form-urlencoded;charset=UTF-8\r\n')],
    ['an answer with headers and characters of its own', (path: string) => post(path, 'say=own')],
    ['a refusal', (path: string) => post(path, 'say=no')],
    ['a form with a bad escape', (path: string) => post(path, 'say=%zz')],
    ['a form that is not UTF-8', (path: string) => post(path, 'say=\ud800')],
    ['a handler that breaks', (path: string) => post(path, 'say=boom')],
    ['a store that is away', (path: string) => post(path, 'say=away')],
    ['an answer that is not the promised one', (path: string) => post(path, 'say=wrong')],
    ['an empty form', (path: string) => post(path, '')],
    ['chunks', (path: string) => `POST ${path} HTTP/1.1\r\nHost: x\r\n${TYPE}Transfer-Encoding: chunked\r\n\r\n5\r\nsay=a\r\n0\r\n\r\n`],
    ['a query', (path: string) => post(`${path}?x=1`, 'say=a')],
    ['another spelling of the path', (path: string) => post(path.replace('/d', '/%64').replace('/r', '/%72'), 'say=a')],
    ['an absolute form of the path', (path: string) => post(`http://x${path}`, 'say=a')],
    ['a slash at the end', (path: string) => post(`${path}/`, 'say=a')],
    ['another method', (path: string) => post(path, 'say=a').replace('POST', 'PUT')],
    ['JSON', (path: string) => post(path, '{}', 'Content-Type: application/json\r\n')],
    ['another charset', (path: string) => post(path, 'say=a', 'Content-Type: application/x-www-form-urlencoded; charset=latin1\r\n')],
    ['no media type', (path: string) => post(path, 'say=a', '')],
    ['a coding', (path: string) => post(path, 'say=a', `${TYPE}Content-Encoding: gzip\r\n`)],
    ['two credentials', (path: string) => post(path, 'say=a', `${TYPE}Authorization: Basic a\r\nAuthorization: Basic b\r\n`)],
    ['too many headers', (path: string) => post(path, 'say=a', TYPE + 'a:\r\n'.repeat(1_001))],
    ['a form that is too large', (path: string) => post(path, `say=${'a'.repeat(65_536)}`)],
    ['the largest form', (path: string) => post(path, `x=${'a'.repeat(65_534)}`)],
    ['a length with zeros before it', (path: string) => post(path, 'say=a').replace('Length: 5', 'Length: 05')],
    ['the end of the connection', (path: string) => post(path, 'say=a', `${TYPE}Connection: close\r\n`)],
    ['HTTP/1.0', (path: string) => post(path, 'say=a').replace('HTTP/1.1', 'HTTP/1.0')],
    ['an upgrade', (path: string) => post(path, 'say=a', `${TYPE}Connection: upgrade\r\nUpgrade: h2c\r\n`)],
    ['a wait for 100', (path: string) => post(path, 'say=a', `${TYPE}Expect: 100-continue\r\n`)],
  ])('%s is answered as the router answers it, headers and all [P-004] [P-067]', async (_, request) => {
    const { direct, routed } = await bothWays(request)
    expect(head(direct)).toEqual(head(routed))
    expect(body(direct).join('\n').replaceAll('direct', 'routed')).toBe(body(routed).join('\n'))
    expect(direct[0]).toMatch(/^HTTP\/1\.1 \d{3} /)
    expect(direct.join('')).not.toContain('hunter2')
  })

  it('a form that comes in pieces is one form, and what follows it on the connection is the next request', async () => {
    const request = post('/direct', `say=${'a'.repeat(2_000)}`)
    const both = exchange(service.address.port, request + post('/direct', 'say=second'))
    expect((await both).match(/"said":"(a{2000}|second)"/g)).toEqual([`"said":"${'a'.repeat(2_000)}"`, '"said":"second"'])
    const answered = await new Promise<string>((resolve) => {
      const socket = connect(service.address.port, '127.0.0.1', async () => {
        for (let at = 0; at < request.length; at += 700) {
          socket.write(request.slice(at, at + 700))
          await sleep(5)
        }
      })
      socket.on('data', (chunk) => {
        resolve(String(chunk))
        socket.destroy()
      })
    })
    expect(answered).toContain(`"said":"${'a'.repeat(2_000)}"`)
  })

  it('the handler sees whose request it is, and each has its own id', async () => {
    seen.length = 0
    const headers = `${TYPE}X-Forwarded-For: 203.0.113.7\r\nX-Request-Id: theirs-1\r\n`
    const texts = [
      await exchange(service.address.port, post('/direct', 'say=a', headers)),
      await exchange(service.address.port, post('/routed', 'say=a', headers)),
    ]
    expect(seen.map(({ source, theirs }) => [source, theirs])).toEqual([
      ['203.0.113.7', 'theirs-1'],
      ['203.0.113.7', 'theirs-1'],
    ])
    expect(new Set(seen.map(({ id }) => id)).size).toBe(2)
    for (const [at, text] of texts.entries()) expect(text.toLowerCase()).toContain(`x-request-id: ${seen[at]?.id}\r\n`)
  })

  it('is counted, traced and logged as every other', async () => {
    const before = lines.length
    await exchange(service.address.port, post('/direct', 'say=a'))
    await exchange(service.address.port, post('/direct', 'say=boom'))
    const text = (await metrics.text()).body
    expect(text).toContain('caracal_http_request_seconds_count{route="/direct",method="POST",code="200"}')
    expect(text).toContain('caracal_http_request_seconds_count{route="/direct",method="POST",code="500"}')
    const said = lines.slice(before).join('')
    expect(said).toMatch(/"route":"\/direct","status":200/)
    expect(said).toMatch(/"route":"\/direct".*a handler broke/)
    expect(said).not.toContain('hunter2')
  })

  it('who leaves before the answer aborts the signal and is written nothing', async () => {
    seen.length = 0
    const leaving = new AbortController()
    const gone = fetch(`${service.address.url}/direct`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: 'say=wait',
      signal: leaving.signal,
    }).catch((error: unknown) => error)
    while (waiting.length === 0) await sleep(5)
    leaving.abort()
    expect(await gone).toBeInstanceOf(Error)
    while (seen[0]?.signal.aborted !== true) await sleep(5)
    for (const go of waiting) go()
    expect(await exchange(service.address.port, post('/direct', 'say=after'))).toContain('"said":"after"')
  })
})

it('[P-145] what a service still answers while it drains ends the connection', async () => {
  const draining = await start({ routes: rows, metrics: createMetrics({ service: 'api', version: '1', mode: 'dev' }), drainDelayMs: 300 })
  const stopping = draining.stop()
  expect((await exchange(draining.address.port, post('/direct', 'say=a'))).toLowerCase()).toContain('connection: close\r\n')
  await stopping
})

it.each<[string, Partial<RouteRow>]>([
  ['a credential', { who: [role('viewer')] }],
  ['a part of the path', { path: '/v1/:name' }],
  ['a rate', { rate: 'mutation' }],
  ['an idempotency key', { idempotent: true }],
  ['a query', { query: Type.Object({}) }],
  ['JSON', { body: Type.Object({}) }],
])('a row that asks for %s has no direct way, and says so when the service starts', async (_, more) => {
  const starting = start({ routes: [row('/direct', true, more)], metrics: createMetrics({ service: 'api', version: '1', mode: 'dev' }) })
  await expect(starting).rejects.toThrow('asks for more than the direct way has')
})
