import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { Client } from 'undici'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { codeOf, exchange, KEY, type Range, startRange, statuses, until } from './range.ts'

const CRLF = '\r\n'
const connected = new Set<Socket>()
/** Connections to where nobody may be led. */
let lured = 0

function listen(serve: (socket: Socket) => void): Promise<Server> {
  const server = createServer((socket) => {
    connected.add(socket)
    socket.on('error', () => {}).on('close', () => connected.delete(socket))
    serve(socket)
  })
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)))
}
const portOf = (server: Server) => (server.address() as AddressInfo).port

/** What the hostile upstream says to a request for `/{name}`; it is given the Authorization that it got. */
const SAYS: Record<string, (socket: Socket, authorization: string) => unknown> = {}

/** Says one thing for each request, whatever it is, on connections that stay open. */
function hostile(socket: Socket): void {
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
    if (!text.includes('\r\n\r\n')) return
    const name = /^\S+ \/([^ ?]+)/.exec(text)?.[1] ?? ''
    const authorization = /^authorization: (.*)$/im.exec(text)?.[1]?.trim() ?? ''
    text = ''
    Promise.resolve((SAYS[name] ?? fine)(socket, authorization)).catch(() => {})
  })
}
const fine = (socket: Socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine')
const says = (text: (authorization: string) => string) => (socket: Socket, authorization: string) =>
  socket.write(text(authorization), 'latin1')
const chunked =
  (parts: readonly (Buffer | string)[], headers = '') =>
  async (socket: Socket) => {
    socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n${headers}\r\n`)
    for (const part of parts) {
      socket.write(`${Buffer.byteLength(part).toString(16)}\r\n`)
      socket.write(part)
      socket.write(CRLF)
      await sleep(1)
    }
    socket.write('0\r\n\r\n')
  }
const bytes = (all: Buffer, size: number) =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, at) => all.subarray(at * size, (at + 1) * size))

/** Every way of writing the loopback and the metadata addresses that a URL takes. */
const SPELLINGS: readonly string[] = [
  '127.0.0.1',
  '2130706433',
  '0x7f000001',
  '0177.0.0.1',
  '127.1',
  '0x7f.0.0.1',
  '0',
  '0.0.0.0',
  '[::1]',
  '[::]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[::127.0.0.1]',
  '[64:ff9b::127.0.0.1]',
  '[64:ff9b:1::7f00:1]',
  '[2002:7f00:1::]',
  'localhost',
  'LOCALHOST',
  'localhost.',
  '%6c%6f%63alhost',
  '①②⑦.⓪.⓪.①',
  '169.254.169.254',
  '2852039166',
  '0xa9fea9fe',
  '0251.0376.0251.0376',
  '[::ffff:169.254.169.254]',
  '[fd00:ec2::254]',
  '[fe80::a9fe:a9fe]',
  '100.100.100.200',
  '168.63.129.16',
]

let range: Range
let gateway: number
let evil: Server
let canary: Server
let silent: Server
let token: string

beforeAll(async () => {
  evil = await listen(hostile)
  canary = await listen((socket) => {
    lured += 1
    hostile(socket)
  })
  silent = await listen(() => {})
  const short = 'egressAllow: [127.0.0.0/8]\nscopes: ["use"]\ntimeouts: { connect: 1, firstByte: 1, idle: 1, stream: 1 }'
  const led = SPELLINGS.map(
    (host, at) => [`led-${at}`, { url: `http://${host}:${portOf(canary)}`, more: 'scopes: ["use"]', provider: false }] as const,
  )
  range = await startRange({
    evil: { url: `http://127.0.0.1:${portOf(evil)}`, more: short },
    deaf: { url: `https://127.0.0.1:${portOf(silent)}`, more: short },
    mute: { url: `http://127.0.0.1:${portOf(silent)}`, more: short },
    ...Object.fromEntries(led),
  })
  gateway = range.port('gateway')
  token = await range.mandate('evil', { ttl: '900' })
}, 120_000)
afterAll(async () => {
  await range?.stop()
  for (const socket of connected) socket.destroy()
  for (const server of [evil, canary, silent]) server?.close()
})

const get = (path: string, mandate = token, more = '') =>
  exchange(gateway, `GET /r/${path} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer ${mandate}\r\n${more}Connection: close\r\n\r\n`, 5_000)

/** All that a client can get out of an answer, decoded as far as it came. */
async function harvested(path: string): Promise<string> {
  const raw = await get(`evil/${path}`)
  const client = new Client(`http://127.0.0.1:${gateway}`)
  let body = ''
  try {
    const answer = await client.request({ method: 'GET', path: `/r/evil/${path}`, headers: { authorization: `Bearer ${token}` } })
    for await (const chunk of answer.body) body += (chunk as Buffer).toString('latin1')
  } catch {
    // Cut: what came before counts.
  }
  await client.destroy()
  return raw + body
}

describe('an upstream that gives the credential back', () => {
  const secret = `Bearer ${KEY}`
  const gz = gzipSync(`{"headers":{"authorization":"${secret}"}}`)
  const br = brotliCompressSync(`{"headers":{"authorization":"${secret}"}}`)
  const bomb = gzipSync(Buffer.concat([Buffer.from(secret), Buffer.alloc(8 * 1024 * 1024)]))
  const ways: Record<string, (socket: Socket, authorization: string) => unknown> = {
    'in-a-header': says((got) => `HTTP/1.1 200 OK\r\nX-Echo: ${got}\r\nContent-Length: 0\r\n\r\n`),
    'in-a-cookie': says((got) => `HTTP/1.1 200 OK\r\nSet-Cookie: a=${got.slice(7)}\r\nContent-Length: 0\r\n\r\n`),
    'in-a-header-name': says((got) => `HTTP/1.1 200 OK\r\n${got.slice(7)}: 1\r\nContent-Length: 0\r\n\r\n`),
    'in-the-reason': says((got) => `HTTP/1.1 200 ${got}\r\nContent-Length: 0\r\n\r\n`),
    'in-a-location': says((got) => `HTTP/1.1 302 Found\r\nLocation: /x?${got.slice(7)}\r\nContent-Length: 0\r\n\r\n`),
    'in-an-early-hint': says(
      (got) => `HTTP/1.1 103 Early Hints\r\nLink: </${got.slice(7)}>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n`,
    ),
    'in-a-trailer': says(
      (got) => `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Echo\r\n\r\n2\r\nok\r\n0\r\nX-Echo: ${got}\r\n\r\n`,
    ),
    'in-the-body': says((got) => `HTTP/1.1 200 OK\r\nContent-Length: ${got.length}\r\n\r\n${got}`),
    'until-it-closes': (socket, got) => socket.end(`HTTP/1.1 200 OK\r\n\r\n${got}`),
    'byte-by-byte': (socket, got) => chunked(bytes(Buffer.from(got), 1))(socket),
    'in-two-chunks': (socket, got) => chunked([got.slice(0, 20), got.slice(20)])(socket),
    'behind-sixty-thousand-bytes': (socket, got) => chunked(['x'.repeat(60_000), got])(socket),
    'as-an-event': (socket, got) => chunked(['data: a\n\n', `data: ${got}\n\n`], 'Content-Type: text/event-stream\r\n')(socket),
    'in-an-error': says((got) => `HTTP/1.1 401 Unauthorized\r\nContent-Length: ${got.length}\r\n\r\n${got}`),
    'in-gzip': chunked([gz], 'Content-Encoding: gzip\r\n'),
    'in-gzip-byte-by-byte': chunked(bytes(gz, 1), 'Content-Encoding: gzip\r\n'),
    'in-gzip-in-two-headers': chunked(bytes(gzipSync(gz), 9), 'Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n'),
    'in-brotli-by-seven': chunked(bytes(br, 7), 'Content-Encoding: br\r\n'),
    'in-gzip-in-brotli': chunked(bytes(brotliCompressSync(gz), 11), 'Content-Encoding: gzip, br\r\n'),
    'in-gzip-before-eight-megabytes': chunked([bomb], 'Content-Encoding: gzip\r\n'),
    'in-gzip-events': chunked(bytes(gz, 5), 'Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\n'),
  }
  Object.assign(SAYS, ways)

  test.concurrent.each(Object.keys(ways))(
    '%s: it does not arrive [P-070]',
    async (name) => {
      const out = await harvested(name)
      expect(out).not.toContain(KEY)
      expect(out).not.toContain(KEY.slice(0, 24))
      // Whole compressed answers would be as good as the text.
      for (const whole of [gz, br, bomb]) expect(Buffer.from(out, 'latin1').includes(whole)).toBe(false)
    },
    120_000,
  )
})

describe('an upstream that leads elsewhere', () => {
  test.concurrent.each([
    'http://169.254.169.254/latest/meta-data/',
    '//169.254.169.254/',
    'http://127.0.0.1:CANARY/',
    '//127.0.0.1:CANARY/',
    '\\\\127.0.0.1:CANARY\\',
    'http:127.0.0.1:CANARY',
    'http://user:pass@127.0.0.1:CANARY/',
    'https://attacker.example/',
    'javascript:alert(1)',
    'file:///etc/passwd',
    '/\t/127.0.0.1:CANARY/',
    '/..//127.0.0.1:CANARY/',
  ])('redirects to %s: it is relayed without the place, and nobody goes there [P-070]', async (place) => {
    const to = place.replace('CANARY', String(portOf(canary)))
    const name = `to-${Buffer.from(place).toString('hex')}`
    SAYS[name] = says(
      () =>
        `HTTP/1.1 302 Found\r\nLocation: ${to}\r\nContent-Location: ${to}\r\nRefresh: 0; url=${to}\r\nAlt-Svc: h2="127.0.0.1:1"\r\nContent-Length: 0\r\n\r\n`,
    )
    const answer = await get(`evil/${name}`)
    expect(statuses(answer)).toEqual([302])
    expect(answer).not.toMatch(/^(?:refresh|alt-svc):/im)
    const said = /^location: (.*?)\r?$/im.exec(answer)?.[1]
    // What stays is a path below the resource, never another host.
    if (said !== undefined) expect(said).toMatch(/^\/r\/evil\//)
    expect(answer).not.toMatch(/169\.254|attacker|passwd|javascript/)
    expect(lured).toBe(0)
  })
})

describe('an upstream that lies', () => {
  const POISON = 'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned'
  const lies: Record<string, string> = {
    'more-than-it-said': `HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine${POISON}`,
    'a-second-answer': `${POISON.replace('poisoned', 'the-real')}${POISON}`,
    'a-length-and-chunks': `HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n${POISON}`,
    'two-lengths': `HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 60\r\n\r\nfine${POISON}`,
    'a-negative-length': `HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nfine${POISON}`,
    'a-chunk-too-long': `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nfine\r\n0\r\n\r\n${POISON}`,
    'an-overflowing-chunk': `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000004\r\nfine\r\n0\r\n\r\n${POISON}`,
    'a-folded-header': `HTTP/1.1 200 OK\r\nX-A: 1\r\n b\r\nContent-Length: 4\r\n\r\nfine${POISON}`,
    'a-NUL': `HTTP/1.1 200 OK\r\nX-A: 1\x00\r\nContent-Length: 4\r\n\r\nfine${POISON}`,
    'no-status': `HTTP/1.1 OK\r\n\r\n${POISON}`,
    'a-status-of-999': `HTTP/1.1 999 Odd\r\nContent-Length: 4\r\n\r\nfine${POISON}`,
    'HTTP-0.9': `fine${POISON}`,
    'a-banner': `220 smtp ready\r\n${POISON}`,
    'an-upgrade-nobody-asked-for': `HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n${POISON}`,
    'a-continue-nobody-asked-for': `HTTP/1.1 100 Continue\r\n\r\n${POISON.replace('poisoned', 'the-real')}${POISON}`,
    'a-body-without-content': `HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nfine${POISON}`,
    'headers-of-a-megabyte': `HTTP/1.1 200 OK\r\nX-Big: ${'a'.repeat(1_048_576)}\r\nContent-Length: 4\r\n\r\nfine${POISON}`,
    'a-flood-of-hints': `${'HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n'.repeat(20_000)}${POISON}`,
    'a-flood-of-processing': `${'HTTP/1.1 102 Processing\r\n\r\n'.repeat(20_000)}${POISON}`,
  }
  for (const [name, text] of Object.entries(lies)) SAYS[name] = says(() => text)

  test.each(Object.keys(lies))(
    '%s: one answer at most, and nobody else gets the rest of it',
    async (name) => {
      const answer = await get(`evil/${name}`)
      const final = statuses(answer).filter((status) => status >= 200)
      expect(final.length, answer.slice(0, 500)).toBeLessThanOrEqual(1)
      expect(statuses(answer).length).toBeLessThanOrEqual(20)
      expect(answer).not.toContain('poisoned')
      if (final[0] === 502) expect(codeOf(answer)).toMatch(/^upstream_/)
      // The next calls to the same upstream, over whatever connection is left, get their own answers.
      for (let at = 0; at < 3; at++)
        expect(
          await until(
            () => get('evil/fine'),
            (text) => statuses(text)[0] === 200,
          ),
        ).toMatch(/fine$/)
    },
    120_000,
  )

  test('less than it said: the answer breaks off where a client can see it', async () => {
    SAYS.less = (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\nonly this')
    SAYS['less-chunks'] = (socket) => socket.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n')
    for (const name of ['less', 'less-chunks']) {
      const answer = await get(`evil/${name}`)
      expect(answer).not.toMatch(/0\r\n\r\n$/)
      expect(answer.length).toBeLessThan(2_000)
    }
  })

  test('a hundred thousand chunks of one byte arrive as they are, while others are served', async () => {
    SAYS.crumbs = (socket) => socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${'1\r\nx\r\n'.repeat(100_000)}0\r\n\r\n`)
    const client = new Client(`http://127.0.0.1:${gateway}`)
    const headers = { authorization: `Bearer ${token}` }
    const crumbs = client.request({ method: 'GET', path: '/r/evil/crumbs', headers }).then(({ body }) => body.text())
    expect(statuses(await get('evil/fine'))).toEqual([200])
    expect((await crumbs).length).toBe(100_000)
    await client.close()
  }, 120_000)
})

describe('an upstream that hangs', () => {
  test.concurrent.each<[string, string, string, number | undefined, string | undefined]>([
    ['before TLS', 'deaf', 'x', 504, 'upstream_timeout'],
    ['before its headers', 'mute', 'x', 504, 'upstream_timeout'],
    ['in its headers', 'evil', 'half-a-head', 504, 'upstream_timeout'],
    ['behind hints', 'evil', 'hints-for-ever', undefined, undefined],
    ['in its body', 'evil', 'half-a-body', 504, 'upstream_timeout'],
    ['in its events', 'evil', 'half-an-event', 200, undefined],
  ])(
    '%s: the call ends in its time [P-071]',
    async (_, resource, path, status, code) => {
      SAYS['half-a-head'] = says(() => 'HTTP/1.1 200 OK\r\nX-Half')
      SAYS['half-a-body'] = says(() => 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf')
      SAYS['half-an-event'] = says(() => 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: half\n\n')
      SAYS['hints-for-ever'] = async (socket) => {
        while (!socket.destroyed) {
          socket.write('HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n')
          await sleep(300)
        }
      }
      const answer = await get(`${resource}/${path}`, await range.mandate(resource))
      const final = statuses(answer).filter((one) => one >= 200)
      if (status !== undefined) expect([final, codeOf(answer)]).toEqual([[status], code])
      await until(
        () => range.metric('gateway', 'caracal_gateway_live_calls'),
        (live) => live === 0,
      )
    },
    120_000,
  )
})

test.concurrent.each(SPELLINGS.map((host, at) => [host, at] as const))(
  'an upstream at http://%s gains nothing: refused, and nobody is dialled [P-079]',
  async (_, at) => {
    const answer = await get(`led-${at}/x`, await range.mandate(`led-${at}`))
    expect(statuses(answer)[0]).toBeGreaterThanOrEqual(403)
    expect(['upstream_not_allowed', 'upstream_unreachable']).toContain(codeOf(answer))
    expect(lured).toBe(0)
  },
  120_000,
)

test('after all of that nothing is left running, and the credential stands in no answer, no log and no event', async () => {
  await until(
    () => range.metric('gateway', 'caracal_gateway_live_calls'),
    (live) => live === 0,
  )
  expect(range.installation.output()).not.toContain(KEY)
  expect(JSON.stringify(await range.events('order=desc'))).not.toContain(KEY)
  expect(lured).toBe(0)
})
