import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { Client } from 'undici'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { codeOf, exchange, type Range, ROLES, startRange, statuses, until } from './range.ts'

const COUNT = 10
/** What reached the echo service, upgrades included. */
const seen: IncomingMessage[] = []
const echo = createServer((request, response) => {
  seen.push(request)
  if (request.url?.startsWith('/trailers')) {
    response.writeHead(200, { trailer: 'X-Sum' })
    response.write('part')
    response.addTrailers({ 'X-Sum': '42' })
    response.end()
  } else if (request.url?.startsWith('/events')) {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (let at = 0; at < 3; at++) response.write(`data: ${at}\n\n`)
    response.end()
  } else request.pipe(response)
})
echo.on('upgrade', (request: IncomingMessage, socket: Socket) => {
  seen.push(request)
  socket.end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
})

/** A service that can be broken; how it takes each connection. */
type Fragile = { readonly server: Server; attempts: number; serve: (socket: Socket, attempt: number) => void }
const ok = (socket: Socket) => socket.on('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok'))
async function fragile(): Promise<Fragile> {
  const one: Fragile = {
    attempts: 0,
    serve: ok,
    server: createTcpServer((socket) => {
      socket.on('error', () => {})
      one.attempts += 1
      one.serve(socket, one.attempts)
    }),
  }
  await new Promise<void>((resolve) => one.server.listen(0, '127.0.0.1', resolve))
  return one
}

let range: Range
let gateway: number
let services: Fragile[]
let token: string
let tokens: string[]
const urlOf = (server: { address(): unknown }) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`

beforeAll(async () => {
  await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve))
  services = await Promise.all(Array.from({ length: COUNT }, fragile))
  range = await startRange({
    echo: { url: urlOf(echo) },
    ...Object.fromEntries(services.map(({ server }, at) => [`u${at}`, { url: urlOf(server) }])),
  })
  gateway = range.port('gateway')
  token = await range.mandate('echo')
  tokens = await Promise.all(services.map((_, at) => range.mandate(`u${at}`)))
}, 120_000)
afterAll(async () => {
  await range?.stop()
  for (const { server } of services ?? []) server.close()
  echo.closeAllConnections()
  echo.close()
})

const send = (method: string, path: string, headers: string, body = '') =>
  exchange(gateway, `${method} /r/echo/${path} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer ${token}\r\n${headers}\r\n${body}`)

describe('what is not spoken is refused, never served as something less [P-072]', () => {
  const socketKey = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n'
  test.each<[string, string, string, number, string]>([
    ['WebSocket', 'GET', `Connection: Upgrade\r\nUpgrade: websocket\r\n${socketKey}`, 501, 'not_implemented'],
    ['WebSocket in capitals', 'GET', `Connection: upgrade\r\nUpgrade: WebSocket\r\n${socketKey}`, 501, 'not_implemented'],
    ['WebSocket behind h2c', 'GET', `Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n${socketKey}`, 501, 'not_implemented'],
    ['TLS in the connection', 'GET', 'Connection: Upgrade\r\nUpgrade: TLS/1.3\r\n', 501, 'not_implemented'],
    ['gRPC', 'POST', 'Content-Type: application/grpc\r\nTE: trailers\r\nContent-Length: 0\r\n', 501, 'not_implemented'],
    ['gRPC with a format', 'POST', 'Content-Type: application/grpc+proto\r\nContent-Length: 0\r\n', 501, 'not_implemented'],
    ['trailers of an upload', 'POST', 'Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n', 501, 'not_implemented'],
    ['a coding of the transfer', 'POST', 'Transfer-Encoding: gzip, chunked\r\n', 501, 'not_implemented'],
    ['TRACE', 'TRACE', '', 405, 'method_not_allowed'],
    ['CONNECT to a path', 'CONNECT', '', 405, 'method_not_allowed'],
  ])('%s', async (_, method, headers, status, code) => {
    seen.length = 0
    const answer = await send(method, 'x', `${headers}`)
    expect([statuses(answer)[0], codeOf(answer)]).toEqual([status, code])
    expect(seen).toEqual([])
  })

  test('CONNECT to a host, and HTTP/2 without asking', async () => {
    for (const target of [`127.0.0.1:${(echo.address() as AddressInfo).port}`, 'gw:443']) {
      const answer = await exchange(gateway, `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nAuthorization: Bearer ${token}\r\n\r\n`)
      expect([statuses(answer), codeOf(answer)]).toEqual([[405], 'method_not_allowed'])
    }
    const preface = await exchange(gateway, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00')
    expect([statuses(preface), codeOf(preface)]).toEqual([[400], 'invalid_request'])
  })

  test('an offer of h2c is ignored, as RFC 9110 allows: the call is served in HTTP/1.1 and the offer goes nowhere', async () => {
    seen.length = 0
    const answer = await send(
      'GET',
      'x',
      'Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n',
    )
    expect(statuses(answer)).toEqual([200])
    expect(seen.map(({ headers }) => [headers.upgrade, headers['http2-settings']])).toEqual([[undefined, undefined]])
  })

  test('no other listener switches protocols', async () => {
    for (const role of ROLES.filter((one) => one !== 'gateway')) {
      for (const upgrade of ['websocket', 'h2c', 'TLS/1.3']) {
        const answer = await exchange(
          range.port(role),
          `GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: ${upgrade}\r\n${socketKey}\r\n`,
        )
        expect(statuses(answer), role).toEqual([200])
      }
      expect(statuses(await exchange(range.port(role), 'CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n')), role).toEqual([405])
    }
  })
})

describe('what is spoken arrives whole [P-072]', () => {
  test('a chunked upload, echoed; events; trailers of an answer', async () => {
    const client = new Client(`http://127.0.0.1:${gateway}`)
    const headers = { authorization: `Bearer ${token}` }
    const parts = Array.from({ length: 50 }, (_, at) => randomBytes(1 + at * 97))
    const upload = await client.request({
      method: 'POST',
      path: '/r/echo/x',
      headers,
      body: (async function* () {
        yield* parts
      })() as never,
    })
    expect(Buffer.from(await upload.body.arrayBuffer()).equals(Buffer.concat(parts))).toBe(true)
    const events = await client.request({ method: 'GET', path: '/r/echo/events', headers })
    expect(await events.body.text()).toBe('data: 0\n\ndata: 1\n\ndata: 2\n\n')
    const trailers = await client.request({ method: 'GET', path: '/r/echo/trailers', headers: { ...headers, te: 'trailers' } })
    expect(await trailers.body.text()).toBe('part')
    expect(trailers.trailers).toMatchObject({ 'x-sum': '42' })
    await client.close()
  })
})

describe('one bad upstream of ten', () => {
  const call = async (at: number, method = 'GET') => {
    const body = method === 'POST' ? 'Content-Length: 2\r\n\r\nab' : '\r\n'
    const head = `${method} /r/u${at}/x HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer ${tokens[at]}\r\nConnection: close\r\n`
    return statuses(await exchange(gateway, head + body, 5_000))[0]
  }
  const all = (count: number, at: number) => Promise.all(Array.from({ length: count }, () => call(at)))

  test('leaves the other nine unchanged, is probed by one call at a time, and is used again as soon as it is back [P-073] [P-175]', async () => {
    const bad = 3
    const service = services[bad] as Fragile
    service.serve = (socket) => socket.destroy()
    for (let at = 0; at < 6; at++) expect(await call(bad)).toBe(502)
    service.attempts = 0
    const began = performance.now()
    const [broken, ...others] = await Promise.all([
      all(100, bad),
      ...services.map((_, at) => (at === bad ? Promise.resolve([]) : all(5, at))),
    ])
    const seconds = (performance.now() - began) / 1000
    expect(new Set(broken)).toEqual(new Set([502]))
    expect(new Set(others.flat())).toEqual(new Set([200]))
    expect(others.flat()).toHaveLength(45)
    // A probe each quarter of a second; each may try a second connection.
    expect(service.attempts).toBeLessThanOrEqual(2 * (seconds * 4 + 2))
    service.serve = ok
    await until(
      () => call(bad),
      (status) => status === 200,
    )
    expect(new Set(await all(10, bad))).toEqual(new Set([200]))
  }, 120_000)

  test.each<[string, string, (socket: Socket, attempt: number) => void, number, number]>([
    [
      'that drops the first connection is asked once more, when nothing can have happened twice',
      'GET',
      (socket, attempt) => (attempt === 1 ? socket.destroy() : ok(socket)),
      200,
      2,
    ],
    ['that drops every connection is asked twice and no more', 'GET', (socket) => socket.destroy(), 502, 2],
    [
      'that drops a call with an effect is not asked again',
      'POST',
      (socket, attempt) => (attempt === 1 ? socket.once('data', () => socket.destroy()) : ok(socket)),
      502,
      1,
    ],
    [
      'that began to answer is not asked again',
      'GET',
      (socket) => socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\nbegun')),
      502,
      1,
    ],
  ])(
    '%s [P-073]',
    async (_, method, serve, status, attempts) => {
      const service = services[7] as Fragile
      service.attempts = 0
      service.serve = serve
      const found = await call(7, method)
      expect(service.attempts).toBe(attempts)
      expect(found === status || (status === 502 && attempts === 1 && found === 200)).toBe(true)
      service.serve = ok
      await until(
        () => call(7),
        (one) => one === 200,
      )
    },
    120_000,
  )
})
