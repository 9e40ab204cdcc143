import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { request } from 'undici'
import { afterEach, describe, expect, it } from 'vitest'
import {
  type DataPath,
  type DataPathOptions,
  rawCall,
  refusalOf,
  resourceFor,
  startDataPath,
  startRawUpstream,
  startUpstream,
  type TestServer,
} from './test-support/data-path.ts'

const opened: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close()
})
function keep<T extends { close(): Promise<void> }>(one: T): T {
  opened.push(one)
  return one
}
async function pathTo(upstream: TestServer, more: Partial<DataPathOptions['resource']> = {}): Promise<DataPath> {
  keep(upstream)
  return keep(await startDataPath({ resource: resourceFor(upstream.url, more) }))
}
const QUICK = { connect: 1, firstByte: 0.2, idle: 0.2, stream: 600 }

describe('limits', () => {
  it('a declared length above the cap is 413 before the upstream hears of it', async () => {
    let calls = 0
    const path = await pathTo(await startUpstream((_req, res) => res.end(String(++calls))), { maxBodyBytes: 10 })
    const answer = await rawCall(path.port, 'POST /r/notes/ HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n')
    expect(answer).toMatch(/^HTTP\/1\.1 413 [\s\S]*"code":"body_too_large"/)
    expect(calls).toBe(0)
  })

  it('a chunked body that grows past the cap ends the upload with 413', async () => {
    let completed = false
    const path = await pathTo(
      await startUpstream((req, res) =>
        req
          .on('end', () => (completed = true))
          .on('error', () => {})
          .resume()
          .on('end', () => res.end()),
      ),
      { maxBodyBytes: 100_000 },
    )
    const endless = Readable.from(
      (function* () {
        for (let at = 0; at < 100; at++) yield Buffer.alloc(10_000, 'x')
      })(),
    )
    const answer = await request(`${path.url}/r/notes/`, { method: 'POST', body: endless })
    expect({ status: answer.statusCode, code: ((await answer.body.json()) as { code: string }).code }).toEqual(refusalOf('body_too_large'))
    expect(completed).toBe(false)
    expect(await path.outcome(0)).toMatchObject({ status: 413, interrupted: 'body_too_large' })
  })

  it.each(
    (
      [
        ['TRACE / HTTP/1.1\r\nHost: x\r\n\r\n', 'method_not_allowed'],
        ['CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n', 'method_not_allowed'],
        ['GET /r/notes/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n', 'not_implemented'],
        ['POST /r/notes/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/grpc+proto\r\nContent-Length: 0\r\n\r\n', 'not_implemented'],
        ['POST /r/notes/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n0\r\n\r\n', 'not_implemented'],
        ['POST /r/notes/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n', 'not_implemented'],
        ['GET /r/notes/ HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n', 'invalid_request'],
        ['GET /r/notes/ HTTP/1.1\r\n\r\n', 'invalid_request'],
        ['GET /r/notes/ HTTP/2.0\r\nHost: x\r\n\r\n', 'invalid_request'],
        ['GET /r/notes/ HTTP/0.9\r\nHost: x\r\n\r\n', 'invalid_request'],
        ['GET /r/notes/ HTTP/1.1\r\nHost: a b\r\n\r\n', 'invalid_request'],
        ['GET /r/notes/ HTTP/1.1\r\nHost: x/../y\r\n\r\n', 'invalid_request'],
        ['GET /r/notes/ HTTP/1.1\r\nHost: me@x\r\n\r\n', 'invalid_request'],
        ['GET /r/notes/ HTTP/1.1\r\nHost: x:80:90\r\n\r\n', 'invalid_request'],
        ['POST /r/notes/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 'invalid_request'],
        ['POST /r/notes/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na', 'invalid_request'],
        ['GET /r/notes/ HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n', 'invalid_request'],
        ['nonsense\r\n\r\n', 'invalid_request'],
        [`GET /r/notes/ HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(17_000)}\r\n\r\n`, 'headers_too_large'],
      ] as const
    ).map(([bytes, reason]) => ({ bytes, reason, line: bytes.slice(0, 90) })),
  )('$line is $reason and never reaches the upstream [P-070]', async ({ bytes, reason }) => {
    const bodies: string[] = []
    const path = await pathTo(
      await startUpstream((req, res) => req.on('data', (part) => bodies.push(String(part))).on('end', () => res.end('reached'))),
    )
    const answer = await rawCall(path.port, bytes.replace('\r\n', '\r\nConnection: close\r\n'))
    expect(answer).toContain(`HTTP/1.1 ${refusalOf(reason).status} `)
    expect(answer).toContain(`"code":"${reason}"`)
    expect(answer.toLowerCase()).toContain('x-caracal-source: gateway')
    expect(answer.toLowerCase()).toMatch(/x-request-id: req_/)
    expect(answer).not.toContain('reached')
  })

  it('an offer to speak HTTP/2 is ignored, as a server may', async () => {
    const path = await pathTo(await startUpstream((req, res) => res.end(JSON.stringify(req.headers))))
    const answer = await rawCall(
      path.port,
      'GET /r/notes/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n\r\n',
    )
    expect(answer).toMatch(/^HTTP\/1\.1 200 /)
    expect(answer).not.toContain('http2-settings')
  })
})

describe('upstreams that misbehave', () => {
  const after = (text: string, then?: 'end' | 'destroy') => () =>
    startRawUpstream((socket) =>
      socket.once('data', () => {
        socket.write(text)
        if (then !== undefined) setImmediate(() => socket[then]())
      }),
    )

  it.each([
    ['garbage', after('what is HTTP?\r\n\r\n'), 'upstream_protocol_error'],
    [
      'an upgrade nobody asked for',
      after('HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n'),
      'upstream_protocol_error',
    ],
    ['two lengths', after('HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'), 'upstream_protocol_error'],
    ['endless headers', after(`HTTP/1.1 200 OK\r\nX: ${'y'.repeat(40_000)}\r\n\r\n`), 'upstream_protocol_error'],
    ['a close before the answer', after('', 'destroy'), 'upstream_unreachable'],
    ['silence', after(''), 'upstream_timeout'],
    ['half a head', after('HTTP/1.1 200 OK\r\nX-Part: '), 'upstream_timeout'],
  ] as const)('%s: the client is told whose fault it is [P-071]', async (_name, start, reason) => {
    const path = await pathTo(await start(), { timeouts: QUICK })
    const answer = await request(`${path.url}/r/notes/`, { method: 'POST' })
    expect({ status: answer.statusCode, code: ((await answer.body.json()) as { code: string }).code }).toEqual(refusalOf(reason))
    expect(answer.headers['x-caracal-source']).toBe('gateway')
    expect(await path.outcome(0)).toMatchObject({ status: refusalOf(reason).status, interrupted: reason })
  })

  it.each([
    ['fewer bytes than declared', after('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc', 'end')],
    ['a reset in the middle of chunks', after('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n', 'destroy')],
    ['a body that falls silent', after('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc')],
  ] as const)('%s: the client sees a broken answer, never a complete one [P-071]', async (_name, start) => {
    const path = await pathTo(await start(), { timeouts: QUICK })
    const answer = await request(`${path.url}/r/notes/`)
    expect(answer.statusCode).toBe(200)
    await expect(answer.body.text()).rejects.toThrow()
    expect((await path.outcome(0)).interrupted).toMatch(/^upstream_/)
  })

  it('nothing listens: 502, and the tenth call does not even try', async () => {
    const gone = await startUpstream(() => {})
    await gone.close()
    const path = keep(await startDataPath({ resource: resourceFor(gone.url) }))
    for (let at = 0; at < 10; at++) {
      const answer = await request(`${path.url}/r/notes/`)
      expect(answer.statusCode).toBe(502)
      expect(((await answer.body.json()) as { code: string }).code).toBe('upstream_unreachable')
    }
    expect(path.exchanges.length).toBeLessThan(10)
  })

  it('a connection that broke while idle costs a repeatable call nothing', async () => {
    let connections = 0
    const path = await pathTo(
      await startRawUpstream((socket) => {
        const first = ++connections === 1
        socket.once('data', () => {
          socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
          if (first) socket.once('data', () => socket.destroy())
        })
      }),
    )
    for (let at = 0; at < 2; at++) {
      const answer = await request(`${path.url}/r/notes/`)
      expect([answer.statusCode, await answer.body.text()]).toEqual([200, 'ok'])
    }
    expect(connections).toBe(2)
  })

  it('an upstream that answers before it has read the upload is heard', async () => {
    const path = await pathTo(
      await startRawUpstream((socket) => socket.once('data', () => socket.write('HTTP/1.1 403 No\r\nContent-Length: 6\r\n\r\nrefuse'))),
    )
    const answer = await request(`${path.url}/r/notes/`, { method: 'PUT', body: randomBytes(3 * 1024 * 1024), reset: true })
    expect([answer.statusCode, await answer.body.text()]).toEqual([403, 'refuse'])
    expect(await path.outcome(0)).toMatchObject({ status: 403 })
  })

  it('an upstream whose connections are all taken by streams is no broken upstream', async () => {
    const upstream = keep(
      await startUpstream((req, res) => {
        if (req.url === '/fast') res.end('ok')
        else res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
      }),
    )
    const path = keep(
      await startDataPath({ resource: resourceFor(upstream.url, { timeouts: { ...QUICK, connect: 0.05 } }), connections: 1 }),
    )
    const stream = await request(`${path.url}/r/notes/events`)
    for (let at = 0; at < 6; at++) {
      const waiting = new AbortController()
      const call = request(`${path.url}/r/notes/fast`, { signal: waiting.signal }).catch(() => null)
      while (path.exchanges.length < at + 2) await new Promise((resolve) => setTimeout(resolve, 5))
      waiting.abort()
      await call
      expect(await path.outcome(at + 1)).toMatchObject({ status: 499, interrupted: 'client_gone' })
    }
    stream.body.destroy()
    await path.outcome(0)
    const answer = await request(`${path.url}/r/notes/fast`)
    expect([answer.statusCode, await answer.body.text()]).toEqual([200, 'ok'])
  })
})
