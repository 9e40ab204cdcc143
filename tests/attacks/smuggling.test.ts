import type { AddressInfo } from 'node:net'
import { createServer, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { codeOf, exchange, type Range, ROLES, startRange, statuses } from './range.ts'

/** Bytes that reached the upstream, by connection. */
const seen: string[] = []
const sockets = new Set<Socket>()
const upstream = createServer((socket) => {
  const at = seen.push('') - 1
  sockets.add(socket)
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    seen[at] += chunk.toString('latin1')
    const text = seen[at] ?? ''
    const head = text.indexOf('\r\n\r\n')
    if (head === -1) return
    const body = text.slice(head + 4)
    const length = /content-length: (\d+)/i.exec(text)?.[1]
    const whole = /transfer-encoding: chunked/i.test(text) ? body.endsWith('0\r\n\r\n') : body.length >= Number(length ?? 0)
    if (whole) socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`)
  })
})

let range: Range
let token: string

beforeAll(async () => {
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
  range = await startRange({ echo: { url: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}` } })
  token = await range.mandate('echo')
}, 120_000)
afterAll(async () => {
  await range?.stop()
  for (const socket of sockets) socket.destroy()
  upstream.close()
})

const start = (headers: string, path = 'x') =>
  `POST /r/echo/${path} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer ${token}\r\n${headers}\r\n`
/** What reached the upstream for a path. */
const upstreamOf = (path: string) => seen.filter((text) => text.startsWith(`POST /${path} `)).join('')
/** A second request inside the body of the first: whoever reads another length takes it for one of its own. */
const HIDDEN = 'GET /r/echo/smuggled HTTP/1.1\r\nHost: gw\r\n\r\n'

describe('the Gateway refuses a length that two readers could read in two ways, and the upstream hears nothing', () => {
  test.concurrent.each<[string, string, string]>([
    ['a length and chunks', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${HIDDEN}`],
    ['chunks and a length', 'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', `0\r\n\r\n${HIDDEN}`],
    ['two lengths', 'Content-Length: 5\r\nContent-Length: 6\r\n', 'abcdef'],
    ['two equal lengths', 'Content-Length: 5\r\nContent-Length: 5\r\n', 'abcde'],
    ['a list of lengths', 'Content-Length: 5, 5\r\n', 'abcde'],
    ['a signed length', 'Content-Length: +5\r\n', 'abcde'],
    ['a negative length', 'Content-Length: -5\r\n', 'abcde'],
    ['a hexadecimal length', 'Content-Length: 0x5\r\n', 'abcde'],
    ['a length beyond all', 'Content-Length: 99999999999999999999\r\n', 'abcde'],
    ['a length with a dot', 'Content-Length: 5.0\r\n', 'abcde'],
    ['an empty length', 'Content-Length:\r\n', ''],
    ['xchunked', 'Transfer-Encoding: xchunked\r\n', `0\r\n\r\n${HIDDEN}`],
    ['chunked, then identity', 'Transfer-Encoding: chunked, identity\r\n', `0\r\n\r\n${HIDDEN}`],
    ['identity', 'Transfer-Encoding: identity\r\n', ''],
    ['identity, then chunked', 'Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'],
    ['gzip, then chunked', 'Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n'],
    ['chunked twice', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'],
    ['a space before the colon', 'Transfer-Encoding : chunked\r\n', `0\r\n\r\n${HIDDEN}`],
    ['a folded line', 'Transfer-Encoding:\r\n chunked\r\n', `0\r\n\r\n${HIDDEN}`],
    ['a folded line elsewhere', 'X-Any: a\r\n b\r\n', ''],
    ['a vertical tab', 'Transfer-Encoding: \x0bchunked\r\n', `0\r\n\r\n${HIDDEN}`],
    ['a name with a NUL', 'Transfer-Encoding\x00: chunked\r\n', '0\r\n\r\n'],
    ['quoted chunked', 'Transfer-Encoding: "chunked"\r\n', `0\r\n\r\n${HIDDEN}`],
    ['bare LF in the headers', `X-One: 1\nTransfer-Encoding: chunked\r\n`, `0\r\n\r\n${HIDDEN}`],
    ['bare CR in a value', 'X-One: 1\rTransfer-Encoding: chunked\r\n', ''],
    ['a value with a NUL', 'X-One: 1\x002\r\n', ''],
    ['a header without a colon', 'X-One\r\n', ''],
    ['a header without a name', ': 1\r\n', ''],
    ['a chunk size that overflows 64 bits', 'Transfer-Encoding: chunked\r\n', `10000000000000005\r\nabcde\r\n0\r\n\r\n${HIDDEN}`],
    ['a negative chunk size', 'Transfer-Encoding: chunked\r\n', '-5\r\nabcde\r\n0\r\n\r\n'],
    ['a chunk size with 0x', 'Transfer-Encoding: chunked\r\n', '0x5\r\nabcde\r\n0\r\n\r\n'],
    ['a chunk that is longer than it says', 'Transfer-Encoding: chunked\r\n', '3\r\nabcde\r\n0\r\n\r\n'],
    ['a chunk that ends in a bare LF', 'Transfer-Encoding: chunked\r\n', '5\nabcde\r\n0\r\n\r\n'],
    ['a chunk size with a space', 'Transfer-Encoding: chunked\r\n', '5 \r\nabcde\r\n0\r\n\r\n'],
    ['chunk data that ends in a bare LF', 'Transfer-Encoding: chunked\r\n', '5\r\nabcde\n0\r\n\r\n'],
    ['a chunk extension with a bare LF', 'Transfer-Encoding: chunked\r\n', `5;a\nabcde\r\n0\r\n\r\n${HIDDEN}`],
    ['a chunk extension without end', 'Transfer-Encoding: chunked\r\n', `5;${'a'.repeat(40_000)}\r\nabcde\r\n0\r\n\r\n`],
  ])('%s [P-067]', async (name, headers, body) => {
    const path = encodeURIComponent(name).replaceAll('%', '-')
    const answer = await exchange(range.port('gateway'), start(headers, path) + body)
    // One answer, of ours, and the connection is over: what follows is nobody's request.
    expect(statuses(answer), answer).toHaveLength(1)
    expect(statuses(answer)[0], answer).toBeGreaterThanOrEqual(400)
    expect(answer).toMatch(/x-caracal-source: gateway/i)
    expect(seen.join('')).not.toContain('smuggled')
    expect(upstreamOf(path), 'no whole request reached the upstream').not.toMatch(/0\r\n\r\n$/)
  })

  test('what two readers read alike passes, and its bytes are the same: chunk extensions are dropped, sizes may have zeros before them', async () => {
    for (const [headers, body] of [
      ['Content-Length: 5\r\n', 'abcde'],
      ['Content-Length: 05\r\n', 'abcde'],
      ['Transfer-Encoding: chunked\r\n', '5\r\nabcde\r\n0\r\n\r\n'],
      ['Transfer-Encoding: Chunked\r\n', '0005\r\nabcde\r\n000\r\n\r\n'],
      ['Transfer-Encoding: chunked\r\n', '5;name="va\\"lue";x\r\nabcde\r\n0\r\n\r\n'],
    ] as const) {
      const answer = await exchange(range.port('gateway'), start(`${headers}Connection: close\r\n`) + body)
      expect(statuses(answer), headers).toEqual([200])
      expect(seen.at(-1)).toMatch(/\r\n\r\n(?:5\r\n)?abcde(?:\r\n0\r\n\r\n)?$/)
      expect(seen.at(-1)).not.toContain('name=')
    }
  })

  test('trailers of an upload are refused before anything was sent that would miss them, announced or not [P-072]', async () => {
    for (const announced of ['Trailer: X-Sum\r\n', '']) {
      const answer = await exchange(
        range.port('gateway'),
        `${start(`${announced}Transfer-Encoding: chunked\r\n`, 'trailers')}5\r\nabcde\r\n0\r\nX-Sum: 1\r\n\r\n`,
      )
      expect([statuses(answer), codeOf(answer)]).toEqual([[501], 'not_implemented'])
      expect(upstreamOf('trailers')).not.toMatch(/0\r\n\r\n$/)
    }
  })
})

describe('no other listener reads a hidden request either', () => {
  const cases: [string, string][] = [
    ['a length and chunks', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['two lengths', 'Content-Length: 5\r\nContent-Length: 6\r\n\r\n'],
    ['xchunked', 'Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n'],
    ['a space before the colon', 'Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n'],
    ['a folded line', 'Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n'],
    ['bare LF', 'X-One: 1\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['an overflowing chunk', 'Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nabcde\r\n0\r\n\r\n'],
    ['a lying chunk', 'Transfer-Encoding: chunked\r\n\r\n3\r\nabcde\r\n0\r\n\r\n'],
  ]
  test.concurrent.each(ROLES)(
    '%s [P-067]',
    async (role) => {
      for (const [name, rest] of cases) {
        const answer = await exchange(
          range.port(role),
          `POST /livez HTTP/1.1\r\nHost: x\r\n${rest}GET /version HTTP/1.1\r\nHost: x\r\n\r\n`,
        )
        expect(answer, `${name}: /version was answered`).not.toContain('"version"')
        expect(statuses(answer).length, `${name}: ${answer}`).toBeLessThanOrEqual(1)
        for (const status of statuses(answer)) expect(status, name).toBeGreaterThanOrEqual(400)
      }
    },
    120_000,
  )
})
