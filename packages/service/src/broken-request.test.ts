import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { exchange, start } from './start-service.fixture.ts'
import type { RunningService } from './start-service.ts'

let service: RunningService
const SLOW = { headersTimeoutMs: 150, requestTimeoutMs: 500 }

beforeAll(async () => {
  service = await start({ limits: SLOW })
})
afterAll(() => service?.stop())

const codeOf = (answer: string) => [Number(answer.split(' ')[1]), /"code":"(\w+)"/.exec(answer)?.[1]]

/** Opens a connection that says `first` and then one byte each 20 ms; what it was told until it was dropped. */
function drip(first: string, byte: string): Promise<string> {
  return new Promise((resolve) => {
    let text = ''
    const socket = connect(service.address.port, '127.0.0.1', () => socket.write(first))
    const more = setInterval(() => socket.writable && socket.write(byte), 20)
    socket.on('data', (chunk) => {
      text += chunk
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      clearInterval(more)
      resolve(text)
    })
  })
}

describe('a request that is broken', () => {
  it.each([
    ['headers, a byte at a time', 'GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ', 'a'],
    ['a request line, a byte at a time', 'GET /', 'a'],
    [
      'a form, a byte at a time',
      'POST /oauth/2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 60000\r\n\r\n',
      'a',
    ],
    [
      'chunks of one byte',
      'POST /oauth/2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n',
      '1\r\na\r\n',
    ],
    [
      'an upload that only waits',
      'POST /oauth/2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\n',
      '',
    ],
  ])('%s: 408 when its time is over [P-067]', async (_, first, byte) => {
    expect(codeOf(await drip(first, byte))).toEqual([408, 'request_timeout'])
  })

  it.each([
    ['a header above the limit', `GET /livez HTTP/1.1\r\nHost: x\r\nX-Big: ${'a'.repeat(20_000)}\r\n\r\n`, 431, 'headers_too_large'],
    ['many small headers above the limit', `GET /livez HTTP/1.1\r\nHost: x\r\n${'a:\r\n'.repeat(5_000)}\r\n`, 431, 'headers_too_large'],
    ['CONNECT', 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n', 405, 'method_not_allowed'],
    ['HTTP/2 at once', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400, 'invalid_request'],
    ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400, 'invalid_request'],
    ['two lengths', 'POST /oauth/2/token HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab', 400, 'invalid_request'],
    [
      'a length and chunks',
      'POST /oauth/2/token HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
      'invalid_request',
    ],
    ['no Host', 'GET /livez HTTP/1.1\r\n\r\n', 400, undefined],
  ])('%s [P-067]', async (_, bytes, status, code) => {
    expect(codeOf(await exchange(service.address.port, bytes))).toEqual([status, code])
  })

  it('a second credential cannot hide behind many headers', async () => {
    const many = 'a:\r\n'.repeat(900)
    const answer = await exchange(
      service.address.port,
      `GET /v1/zones/x/things/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer all\r\n${many}Authorization: Bearer view\r\n\r\n`,
    )
    expect(codeOf(answer)).toEqual([400, 'invalid_request'])
  })

  it('after another one that has no answer yet ends the connection and answers neither', async () => {
    const stream = 'GET /v1/slow HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer all\r\n\r\n'
    const answer = await exchange(service.address.port, `${stream}GARBAGE\r\n\r\n`)
    expect(answer).not.toContain('400 ')
  })
})
