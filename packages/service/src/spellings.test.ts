import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RunningService } from './index.ts'
import { exchange, start, ZONE } from './start-service.fixture.ts'

describe('a protected path', () => {
  let service: RunningService
  beforeAll(async () => {
    service = await start()
  })
  afterAll(() => service.stop())

  it.each([
    ['as registered', `/v1/zones/${ZONE}/things/abc`, [200]],
    ['escaped letter', `/v1/zones/${ZONE}/thing%73/abc`, [200]],
    ['escaped slash', `/v1/zones/${ZONE}%2Fthings/abc`, [404]],
    ['escaped slash in the last segment', `/v1/zones/${ZONE}/things/a%2Fb`, [200]],
    ['double escape', `/v1/zones/${ZONE}/thing%2573/abc`, [404]],
    ['double slash', `//v1/zones/${ZONE}/things/abc`, [404]],
    ['inner double slash', `/v1/zones/${ZONE}//things/abc`, [404]],
    ['trailing slash', `/v1/zones/${ZONE}/things/abc/`, [404]],
    ['dot segment', `/v1/zones/${ZONE}/./things/abc`, [404]],
    ['dot dot', `/v1/zones/${ZONE}/x/../things/abc`, [404]],
    ['escaped dots', `/v1/zones/${ZONE}/x/%2e%2e/things/abc`, [404]],
    ['upper case', `/V1/zones/${ZONE}/things/abc`, [404]],
    ['absolute form', `http://elsewhere.example/v1/zones/${ZONE}/things/abc`, [200]],
    ['bad escape', `/v1/zones/${ZONE}/things/%zz`, [400]],
    ['truncated escape', `/v1/zones/${ZONE}/things/%`, [400]],
    ['bad UTF-8', `/v1/zones/${ZONE}/things/%ff`, [400]],
    ['backslash', `/v1/zones/${ZONE}\\things/abc`, [404]],
    ['semicolon', `/v1/zones/${ZONE};a=b/things/abc`, [404]],
    ['null byte', `/v1/zones/${ZONE}/things%00/abc`, [404]],
    ['query', `/v1/zones/${ZONE}/things/abc?deep=true`, [200]],
    ['fragment', `/v1/zones/${ZONE}/things/abc#x`, [200, 400, 404, 422]],
    ['authority form', `elsewhere.example:80`, [400, 404]],
    ['asterisk', `*`, [400, 404]],
  ])('[P-120] decides the spelling "%s" by its row alone', async (_name, target, allowed) => {
    const ask = (token: string | undefined) =>
      exchange(
        service.address.port,
        `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${token === undefined ? '' : `Authorization: Bearer ${token}\r\n`}\r\n`,
      )
    const status = (text: string) => Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1])
    expect(allowed).toContain(status(await ask('view')))
    const without = status(await ask(undefined))
    expect(without).not.toBe(200)
    if (allowed.includes(200) && without !== 400 && without !== 404) expect(without).toBe(401)
  })

  it.each([
    ['both lengths', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'],
    ['two lengths', 'Content-Length: 5\r\nContent-Length: 6\r\n', 'abcde'],
    ['odd coding', 'Transfer-Encoding: xchunked\r\n', '0\r\n\r\n'],
    ['space before colon', 'Content-Length : 5\r\n', 'abcde'],
    ['bare line feed', 'X-A: b\nContent-Length: 5\r\n', 'abcde'],
    ['folded header', 'X-A: b\r\n c\r\nContent-Length: 5\r\n', 'abcde'],
  ])('[P-120] lets no second request be smuggled by %s', async (_name, headers, body) => {
    const text = await exchange(
      service.address.port,
      `POST /v1/zones/${ZONE}/things HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer all\r\nContent-Type: application/json\r\n${headers}\r\n${body}GET /version HTTP/1.1\r\nHost: x\r\n\r\n`,
    )
    expect(text).toMatch(/^HTTP\/1\.1 4\d\d /)
    expect(text).not.toContain('1.2.3')
  })
})
