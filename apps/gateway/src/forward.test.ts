import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
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
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const QUICK = { connect: 1, firstByte: 0.2, idle: 0.2, stream: 600 }

describe('bytes', () => {
  it('five megabytes of noise come through unchanged both ways, declared and chunked', async () => {
    const noise = randomBytes(5 * 1024 * 1024)
    const received: string[] = []
    const path = await pathTo(
      await startUpstream((req, res) => {
        const hash = createHash('sha256')
        req.on('data', (part) => hash.update(part))
        req.on('end', () => {
          received.push(hash.digest('hex'), req.headers['content-length'] ?? req.headers['transfer-encoding'] ?? 'none')
          if (req.headers['content-length'] !== undefined) res.setHeader('content-length', noise.length)
          res.setHeader('content-encoding', 'gzip') // a lie: what is not looked into passes as it is
          res.end(noise)
        })
      }),
    )
    const parts = Array.from({ length: 80 }, (_, at) => noise.subarray(at * 65_536, (at + 1) * 65_536))
    for (const body of [noise, Readable.from(parts)]) {
      const answer = await request(`${path.url}/r/notes/x`, { method: 'POST', body })
      expect(sha256(Buffer.from(await answer.body.arrayBuffer()))).toBe(sha256(noise))
      expect(answer.headers['content-encoding']).toBe('gzip')
    }
    expect(received).toEqual([sha256(noise), String(noise.length), sha256(noise), 'chunked'])
    expect(await path.outcome(1)).toMatchObject({ status: 200, bytes_in: noise.length, bytes_out: noise.length })
  })

  it.each([
    ['HEAD', 200, { 'content-length': '1234' }],
    ['GET', 204, {}],
    ['GET', 304, { etag: '"x"', 'content-length': '1234' }],
    ['DELETE', 200, { 'content-length': '0' }],
  ])('%s with %i has no body and keeps its headers', async (method, status, headers) => {
    const path = await pathTo(await startUpstream((_req, res) => res.writeHead(status, headers).end()))
    const answer = await request(`${path.url}/r/notes/x`, { method: method as 'GET' })
    expect(answer.statusCode).toBe(status)
    expect(answer.headers).toMatchObject(headers)
    expect(await answer.body.text()).toBe('')
  })

  it.each(['Gr\xfcn', 'O\x01K'])('leaves out a reason phrase that is no plain text: %j', async (phrase) => {
    const path = await pathTo(
      await startRawUpstream((socket) =>
        socket.once('data', () => socket.write(`HTTP/1.1 200 ${phrase}\r\nContent-Length: 2\r\n\r\nok`, 'latin1')),
      ),
    )
    const answer = await rawCall(path.port, 'GET /r/notes/x HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n')
    expect(answer.split('\r\n')[0]).toBe('HTTP/1.1 200 ')
    expect(answer).toMatch(/\r\n\r\nok$/)
  })

  it('keeps the reason phrase, the spelling and the repetition of headers', async () => {
    const path = await pathTo(
      await startRawUpstream((socket) =>
        socket.once('data', () =>
          socket.write('HTTP/1.1 299 Quite Fine\r\nX-One: 1\r\nx-one: 2\r\nX-Latin: \xe4\r\nContent-Length: 0\r\n\r\n', 'latin1'),
        ),
      ),
    )
    const answer = await rawCall(path.port, 'GET /r/notes/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    expect(answer).toContain('HTTP/1.1 299 Quite Fine\r\nX-One: 1\r\nx-one: 2\r\nX-Latin: \xe4\r\nContent-Length: 0\r\n')
  })

  it('passes trailers of a response, announced, without those in our name', async () => {
    const path = await pathTo(
      await startUpstream((_req, res) => {
        res.writeHead(200, { trailer: 'X-Sum, X-Caracal-Revoked' })
        res.write('body')
        res.addTrailers({ 'X-Sum': 'abc', 'X-Caracal-Revoked': 'true' })
        res.end()
      }),
    )
    const answer = await request(`${path.url}/r/notes/x`)
    expect(await answer.body.text()).toBe('body')
    expect(answer.trailers).toEqual({ 'x-sum': 'abc' })
    expect(answer.headers.trailer).toBe('X-Sum, X-Caracal-Revoked')
  })

  it('asks for the body only when it is sent on, and passes 100 Continue and Early Hints', async () => {
    const path = await pathTo(
      await startUpstream((req, res) => {
        res.writeEarlyHints({ link: '</a.css>; rel=preload' })
        req.pipe(res)
      }),
    )
    const socket = connect(path.port, '127.0.0.1')
    let seen = ''
    socket.on('data', (part) => {
      if (seen === '') socket.write('hello')
      seen += part.toString()
    })
    socket.write('POST /r/notes/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n')
    await once(socket, 'close')
    expect(seen).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 103 Early Hints\r\nLink: <\/a\.css>; rel=preload\r\n/)
    expect(seen).toMatch(/HTTP\/1\.1 200 OK[\s\S]*hello/)
  })
})

describe('clients that misbehave', () => {
  it('a client that goes away ends the upstream call; the evidence says 499 [P-071]', async () => {
    const aborted = Promise.withResolvers<void>()
    const asked = Promise.withResolvers<void>()
    const path = await pathTo(
      await startUpstream((req) => {
        req.on('close', () => aborted.resolve())
        asked.resolve()
      }),
    )
    const socket = connect(path.port, '127.0.0.1')
    socket.write('GET /r/notes/ HTTP/1.1\r\nHost: x\r\n\r\n')
    await asked.promise
    socket.destroy()
    await aborted.promise
    expect(await path.outcome(0)).toMatchObject({ status: 499, interrupted: 'client_gone' })
  })

  it('a client that vanishes in its upload ends the upstream call [P-071]', async () => {
    const aborted = Promise.withResolvers<void>()
    const asked = Promise.withResolvers<void>()
    const path = await pathTo(
      await startUpstream((req) => {
        req.on('error', () => {}).on('close', () => aborted.resolve())
        req.once('data', () => asked.resolve())
      }),
    )
    const socket = connect(path.port, '127.0.0.1')
    socket.write('POST /r/notes/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc')
    await asked.promise
    socket.destroy()
    await aborted.promise
    expect(await path.outcome(0)).toMatchObject({ status: 499, interrupted: 'client_gone', bytes_in: 3 })
  })

  it('a client that stops in its upload gets 408', async () => {
    const path = await pathTo(await startUpstream((req) => req.resume()), { timeouts: QUICK })
    const answer = await rawCall(path.port, 'POST /r/notes/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc')
    expect(answer).toMatch(/^HTTP\/1\.1 408 [\s\S]*"code":"request_timeout"/)
  })

  it('a slow reader holds the upstream back instead of filling memory, and loses no byte [P-071]', async () => {
    const piece = Buffer.alloc(256 * 1024, 'x')
    let sent = 0
    const total = 64 * 1024 * 1024
    const path = await pathTo(
      await startUpstream((_req, res) => {
        const more = () => {
          while (sent < total) {
            sent += piece.length
            if (!res.write(piece)) return void res.once('drain', more)
          }
          res.end()
        }
        more()
      }),
    )
    const answer = await request(`${path.url}/r/notes/`)
    // Nobody reads: what the upstream could send has to settle below what sockets and bounded buffers hold.
    let before = -1
    while (before !== sent) {
      before = sent
      await new Promise((resolve) => setTimeout(resolve, 150))
    }
    expect(sent).toBeLessThan(total / 2)
    let read = 0
    for await (const part of answer.body) read += part.length
    expect(read).toBe(total)
  })
})

describe('cut', () => {
  it('an event stream is cut in the middle with a trailer, and the upstream is dropped', async () => {
    const dropped = Promise.withResolvers<void>()
    const path = await pathTo(
      await startUpstream((_req, res) => {
        res.writeHead(200, { 'content-type': 'text/event-stream' })
        const timer = setInterval(() => res.write('data: tick\n\n'), 5)
        res.on('close', () => {
          clearInterval(timer)
          dropped.resolve()
        })
      }),
    )
    const answer = await request(`${path.url}/r/notes/`)
    expect(answer.headers.trailer).toBe('X-Caracal-Revoked')
    await once(answer.body, 'readable')
    const began = performance.now()
    path.exchanges[0]?.cut('token_revoked')
    for await (const _ of answer.body);
    expect(performance.now() - began).toBeLessThan(5_000)
    expect(answer.trailers).toEqual({ 'x-caracal-revoked': 'true' })
    await dropped.promise
    expect(await path.outcome(0)).toMatchObject({ status: 200, interrupted: 'token_revoked' })
  })

  it('a silent event stream opens at once and is cut without waiting for the next byte', async () => {
    const path = await pathTo(
      await startUpstream((_req, res) => {
        res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
      }),
      { timeouts: QUICK },
    )
    const answer = await request(`${path.url}/r/notes/`)
    path.exchanges[0]?.cut('token_expired')
    expect(await answer.body.text()).toBe('')
    expect(answer.trailers).toEqual({ 'x-caracal-revoked': 'true' })
  })

  it('a stream that ends because this process stops does not say that anything was revoked', async () => {
    const path = await pathTo(
      await startUpstream((_req, res) => res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()),
    )
    const answer = await request(`${path.url}/r/notes/`)
    path.exchanges[0]?.cut('draining')
    await expect(answer.body.text()).rejects.toThrow()
    expect(answer.trailers).toEqual({})
  })

  it('an answer of declared length is broken off', async () => {
    const path = await pathTo(await startUpstream((_req, res) => res.writeHead(200, { 'content-length': 10 }).write('abc')))
    const answer = await request(`${path.url}/r/notes/`)
    path.exchanges[0]?.cut('token_revoked')
    await expect(answer.body.text()).rejects.toThrow()
  })

  it('a call that waits for its answer gets the refusal', async () => {
    const asked = Promise.withResolvers<void>()
    const path = await pathTo(await startUpstream(() => asked.resolve()))
    const pending = request(`${path.url}/r/notes/`)
    await asked.promise
    path.exchanges[0]?.cut('token_revoked')
    const answer = await pending
    expect({ status: answer.statusCode, code: ((await answer.body.json()) as { code: string }).code }).toEqual(refusalOf('token_revoked'))
  })

  it('a running upload ends: the upstream sees it break, the client the refusal', async () => {
    const broken = Promise.withResolvers<void>()
    const asked = Promise.withResolvers<void>()
    const path = await pathTo(
      await startUpstream((req) => {
        req.once('data', () => asked.resolve())
        req.on('error', () => broken.resolve())
      }),
    )
    const socket = connect(path.port, '127.0.0.1')
    let seen = ''
    socket.on('data', (part) => (seen += part.toString()))
    socket.write('POST /r/notes/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n')
    await asked.promise
    path.exchanges[0]?.cut('token_revoked')
    await Promise.all([broken.promise, once(socket, 'close')])
    expect(seen).toMatch(/^HTTP\/1\.1 401 [\s\S]*"code":"token_revoked"/)
  })

  it('cutting twice, or after the end, changes nothing', async () => {
    const path = await pathTo(await startUpstream((_req, res) => res.end('fine')))
    const answer = await request(`${path.url}/r/notes/`)
    expect(await answer.body.text()).toBe('fine')
    const outcome = await path.outcome(0)
    path.exchanges[0]?.cut('token_revoked')
    path.exchanges[0]?.cut('token_revoked')
    expect(await path.outcome(0)).toEqual(outcome)
    expect(outcome.interrupted).toBeUndefined()
  })
})
