import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Caracal } from './caracal.ts'

/** An STS and a Gateway in one server: what it answers next is written down before. */
type Answer = { readonly status: number; readonly headers?: Record<string, string>; readonly cut?: true }
let server: Server
let url: string
let next: Answer[]
let calls: string[]
let mints: number

const busy: Answer = { status: 503, headers: { 'x-caracal-source': 'gateway' } }
const fine: Answer = { status: 200 }

beforeAll(async () => {
  server = createServer((request, response) => {
    request.resume()
    request.on('end', () => (request.url === '/oauth/2/token' ? mint(response) : call(request, response)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.close()
  server.closeAllConnections()
})
beforeEach(() => {
  next = []
  calls = []
  mints = 0
})

function mint(response: ServerResponse) {
  mints += 1
  const later = { field_of_a_later_version: { a: [1] }, token_type: 'Bearer' }
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(JSON.stringify({ access_token: `token-${mints}`, expires_in: 300, scope: 'a', ...later }))
}

function call(request: IncomingMessage, response: ServerResponse) {
  calls.push(`${request.method} ${request.headers.authorization}`)
  const { status, headers = {}, cut } = next.shift() ?? fine
  if (cut) return request.socket.destroy()
  response.writeHead(status, headers).end(JSON.stringify({ code: 'x', later: true }))
}

const caracal = (retries?: number) =>
  new Caracal({
    stsUrl: url,
    gatewayUrl: url,
    clientId: 'app_1',
    authentication: { clientSecret: 's' },
    ...(retries === undefined ? {} : { retries }),
  })
const fetch = (init: RequestInit = {}, retries?: number) => caracal(retries).fetch('https://r.example/', '/x', init)

describe('[P-155] a call is tried again only where that can do no harm', () => {
  test.each(['GET', 'HEAD', 'PUT', 'DELETE'])('%s, while the Gateway is busy or breaks off', async (method) => {
    next = [busy, { status: 0, cut: true }, fine]
    expect((await fetch({ method })).status).toBe(200)
    expect(calls).toHaveLength(3)
    expect(mints).toBe(1)
  })

  test.each(['POST', 'PATCH'])('%s never, whatever went wrong', async (method) => {
    for (const wrong of [busy, { status: 0, cut: true } as const, { ...busy, status: 401 }]) {
      calls = []
      next = [wrong]
      await expect(fetch({ method, body: '1' })).rejects.toMatchObject({ name: 'CaracalError' })
      expect(calls).toHaveLength(1)
    }
  })

  test('a body that can be sent only once is sent only once', async () => {
    next = [busy]
    const body = ReadableStream.from([Buffer.from('1')])
    await expect(fetch({ method: 'PUT', body, duplex: 'half' } as RequestInit)).rejects.toMatchObject({ status: 503 })
    expect(calls).toHaveLength(1)
  })

  test('no more often than it was told, and not at all what is no passing trouble', async () => {
    next = Array(9).fill(busy)
    await expect(fetch({}, 1)).rejects.toMatchObject({ status: 503, retryable: true })
    expect(calls).toHaveLength(2)
    calls = []
    next = [{ ...busy, status: 403 }]
    await expect(fetch()).rejects.toMatchObject({ status: 403, retryable: false })
    expect(calls).toHaveLength(1)
  })

  test('an answer of the upstream is an answer: its own 503 is handed on', async () => {
    next = [{ status: 503 }]
    expect((await fetch()).status).toBe(503)
    expect(calls).toHaveLength(1)
  })

  test('a mandate that is not taken any more is replaced once', async () => {
    next = [
      { ...busy, status: 401 },
      { ...busy, status: 401 },
    ]
    await expect(fetch()).rejects.toMatchObject({ status: 401 })
    expect(calls).toEqual(['GET Bearer token-1', 'GET Bearer token-2'])
  })

  test('it waits as long as it is asked to, and no longer than the caller', async () => {
    next = [{ ...busy, headers: { ...busy.headers, 'retry-after': '1' } }]
    const began = performance.now()
    expect((await fetch()).status).toBe(200)
    expect(performance.now() - began).toBeGreaterThan(900)
    next = [{ ...busy, headers: { ...busy.headers, 'retry-after': '3600' } }]
    calls = []
    await expect(fetch({ signal: AbortSignal.timeout(300) })).rejects.toMatchObject({ name: 'TimeoutError' })
    expect(calls).toHaveLength(1)
  })
})
