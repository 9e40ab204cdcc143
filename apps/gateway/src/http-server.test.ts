import { once } from 'node:events'
import type { Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { refuse } from '@caracal/core'
import { UploadBody } from '@caracal/enforcement-point'
import { afterEach, describe, expect, it } from 'vitest'
import { createGatewayServer, type GatewayServerOptions, sendRefusal } from './http-server.ts'
import { rawCall } from './test-support/data-path.ts'

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.close()
    server.closeAllConnections()
  }
})
async function listen(options: Partial<GatewayServerOptions>): Promise<number> {
  const server = createGatewayServer({ handle: async (_req, res) => void res.end('handled'), onError: () => {}, ...options })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

describe('createGatewayServer', () => {
  it('headers that do not come in time are 408', async () => {
    const port = await listen({ headersTimeoutMs: 200 })
    const answer = await rawCall(port, 'GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ')
    expect(answer).toMatch(/^HTTP\/1\.1 408 [\s\S]*"code":"request_timeout"/)
    expect(answer).toContain('x-caracal-source: gateway')
  })

  it('many small headers are counted by their bytes, none is dropped silently', async () => {
    const counts: number[] = []
    const port = await listen({ handle: async (req, res) => void res.end(String(counts.push(req.rawHeaders.length / 2))) })
    await rawCall(port, `GET / HTTP/1.1\r\n${'a:b\r\n'.repeat(2_500)}Connection: close\r\n\r\n`)
    expect(counts).toEqual([2_501])
    expect(await rawCall(port, `GET / HTTP/1.1\r\n${'a:b\r\n'.repeat(9_000)}\r\n`)).toMatch(/^HTTP\/1\.1 431 /)
  })

  it('connections above the limit are dropped', async () => {
    const port = await listen({ maxConnections: 1 })
    const first = connect(port, '127.0.0.1')
    await once(first, 'connect')
    first.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await once(first, 'data')
    expect(await rawCall(port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n')).toBe('')
    first.destroy()
  })

  it('a bug is 500 without a word of it, and is reported', async () => {
    const errors: unknown[] = []
    const bug = new Error('secret detail of the inside')
    const port = await listen({ handle: () => Promise.reject(bug), onError: (error) => errors.push(error) })
    const answer = await rawCall(port, 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    expect(answer).toMatch(/^HTTP\/1\.1 500 [\s\S]*"code":"internal_error"/)
    expect(answer).not.toContain('secret detail')
    expect(errors).toEqual([bug])
  })

  it('a refusal carries its reason, its id and what is said beside it; HEAD gets no body', async () => {
    const port = await listen({
      handle: async (_req, res) =>
        sendRefusal(res, refuse('no_rule_allows', 'why', { rule: 'r' }), 'req_1', { 'x-caracal-decision': 'deny' }),
    })
    const answer = await rawCall(port, 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    expect(answer).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n/)
    for (const part of [
      'content-type: application/problem+json',
      'x-request-id: req_1',
      'x-caracal-decision: deny',
      '"rule":"r"',
      '"request_id":"req_1"',
    ])
      expect(answer).toContain(part)
    expect(await rawCall(port, 'HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).toMatch(/\r\n\r\n$/)
  })

  it('a connection stays usable after a refusal of a request without a body', async () => {
    const port = await listen({ handle: async (_req, res) => sendRefusal(res, refuse('invalid_token'), 'req_1') })
    const answer = await rawCall(port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    expect(answer.match(/HTTP\/1\.1 401/g)).toHaveLength(2)
  })

  it('a client in the middle of its upload gets to see the refusal', async () => {
    const port = await listen({ handle: async (_req, res) => sendRefusal(res, refuse('invalid_token'), 'req_1') })
    const answer = await rawCall(port, `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n${'x'.repeat(1_000_000)}`)
    expect(answer).toMatch(/^HTTP\/1\.1 401 [\s\S]*"code":"invalid_token"/)
  })
})

describe('UploadBody.peek', () => {
  async function peeked(limit: number, bytes: string, maxBytes = 1_000_000): Promise<{ first: string; complete: boolean; whole: string }> {
    const done = Promise.withResolvers<{ first: string; complete: boolean; whole: string }>()
    const port = await listen({
      handle: async (req, res) => {
        const body = new UploadBody(req, { maxBytes, idleMs: 5_000 })
        try {
          const { bytes: first, complete } = await body.peek(limit)
          const parts: Buffer[] = []
          for await (const part of body) parts.push(part)
          done.resolve({ first: String(first), complete, whole: String(Buffer.concat(parts)) })
        } catch (error) {
          done.reject(error)
        }
        res.end()
      },
    })
    const calling = rawCall(port, `POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${bytes.length}\r\n\r\n${bytes}`)
    const [seen] = await Promise.all([done.promise, calling])
    return seen
  }

  it('shows a small body whole and takes nothing away', async () => {
    expect(await peeked(65_536, '{"amount":5}')).toEqual({ first: '{"amount":5}', complete: true, whole: '{"amount":5}' })
  })

  it('shows the beginning of a large one, and all of it is still forwarded', async () => {
    const text = Array.from({ length: 60_000 }, (_, at) => String(at)).join(',')
    const { first, complete, whole } = await peeked(10_000, text)
    expect(first.length).toBeGreaterThanOrEqual(10_000)
    expect(text.startsWith(first)).toBe(true)
    expect(complete).toBe(false)
    expect(whole === text).toBe(true)
  })

  it('a body above the cap fails while it is looked at', async () => {
    await expect(peeked(65_536, 'x'.repeat(2_000), 1_000)).rejects.toMatchObject({ reason: 'body_too_large' })
  })
})
