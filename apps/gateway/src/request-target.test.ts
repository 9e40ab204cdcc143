import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseRequestTarget } from './request-target.ts'
import { type DataPath, rawCall, resourceFor, startDataPath, startRawUpstream, type TestServer } from './test-support/data-path.ts'

/** What goes on, byte for byte. */
const KEPT = [
  '/r/notes/',
  '/r/notes/a',
  '/r/notes/a/',
  '/r/notes//a//b',
  '/r/notes/a%2Fb',
  '/r/notes/a%2fb',
  '/r/notes/%25',
  '/r/notes/%2541',
  '/r/notes/@scope%2fname',
  '/r/notes/...',
  '/r/notes/.hidden',
  '/r/notes/a..b',
  '/r/notes/a;v=1',
  '/r/notes/%E2%82%AC',
  '/r/notes/%25zz',
  "/r/notes/!$&'()*+,;=:@~",
  '/r/notes/a?',
  '/r/notes/a?x=1&x=2',
  '/r/notes/a?x=%2e%2e/../..',
  '/r/notes/a?x=a+b%20c?d/e',
  '/r/notes/a?url=http://x/%zz',
]

/** What is refused, because two readers could read it differently. */
const REFUSED = [
  '/r/notes/.',
  '/r/notes/..',
  '/r/notes/../x',
  '/r/notes/a/./b',
  '/r/notes/%2e%2e/x',
  '/r/notes/%2E./x',
  '/r/notes/%252e%252e/x',
  '/r/notes/%25252e%25252e/x',
  `/r/notes/%${'25'.repeat(9)}41`,
  '/r/notes/a%2f..%2fb',
  '/r/notes/a%2f%2e%2e',
  '/r/notes/..;x/a',
  '/r/notes/a\\b',
  '/r/notes/a%5cb',
  '/r/notes/a%255Cb',
  '/r/notes/a%00',
  '/r/notes/a%2500',
  '/r/notes/a%0d%0aX:y',
  '/r/notes/a%7f',
  '/r/notes/a%',
  '/r/notes/a%4',
  '/r/notes/a%zz',
  '/r/notes/a#b',
  '/r/notes/a?b#c',
  'http://other.example/r/notes/a',
  'other.example:443',
  '*',
  'r/notes/a',
  '',
]

describe('parseRequestTarget', () => {
  it.each(KEPT)('keeps %s byte for byte [P-063]', (target) => {
    const parsed = parseRequestTarget(target)
    expect(parsed.ok && parsed.value.path.raw + parsed.value.query).toBe(target)
  })

  it.each(REFUSED)('refuses %s [P-063]', (target) => {
    expect(parseRequestTarget(target)).toMatchObject({ ok: false, reason: 'malformed_path' })
  })

  it('refuses raw control characters, spaces and bytes outside ASCII', () => {
    for (const character of ['\x00', '\x01', '\t', ' ', '\x7f', '\x80', '\xff', '€'])
      for (const target of [`/a${character}b`, `/a?${character}`]) expect(parseRequestTarget(target).ok, JSON.stringify(target)).toBe(false)
  })

  it('never lets a path through whose full decoding has a dot segment, a backslash or a control character [P-063]', () => {
    const piece = fc.constantFrom('.', '..', '/', '%2e', '%2E', '%25', '2e', '2f', '5c', '%2f', '%5c', '%00', '0', 'a', ';', '\\', '%')
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const parsed = parseRequestTarget(`/${pieces.join('')}`)
        if (!parsed.ok) return
        let text = parsed.value.path.raw
        for (let round = 0; round < 20; round++)
          text = text.replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)))
        expect(text.split(/[/\\]/).some((segment) => /^\.{1,2}(;.*)?$/.test(segment))).toBe(false)
        // biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none is the point.
        expect(text).not.toMatch(/[\\\x00-\x1f]/)
      }),
    )
  })
})

describe('what reaches the upstream', () => {
  const lines: string[] = []
  let upstream: TestServer
  let path: DataPath

  beforeAll(async () => {
    upstream = await startRawUpstream((socket) => {
      let text = ''
      socket.on('data', (part) => {
        text += part.toString('latin1')
        if (!text.includes('\r\n\r\n')) return
        lines.push(text.split('\r\n')[0] ?? '')
        text = ''
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
      })
    })
    path = await startDataPath({ resource: resourceFor(`${upstream.url}/base/`) })
  })
  afterAll(async () => {
    await path.close()
    await upstream.close()
  })

  it('is the same bytes of path and query below the base [P-063]', async () => {
    for (const target of KEPT) {
      lines.length = 0
      const answer = await rawCall(path.port, `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
      expect(answer, target).toMatch(/^HTTP\/1\.1 200 /)
      expect(lines).toEqual([`GET /base${target.slice('/r/notes'.length)} HTTP/1.1`])
    }
  })

  it('is nothing at all for the spellings that are refused [P-063]', async () => {
    lines.length = 0
    for (const target of REFUSED.filter((text) => text !== '')) {
      const answer = await rawCall(path.port, `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
      expect(answer, target).toMatch(/^HTTP\/1\.1 400 /)
      expect(answer.toLowerCase()).toContain('x-caracal-source: gateway')
    }
    expect(lines).toEqual([])
  })
})
