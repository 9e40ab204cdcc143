import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer, request as httpRequest, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { codeOf, exchange, open, type Range, ROLES, type Role, startRange, statuses, until, type Wire } from './range.ts'

/** Calls that the upstream is busy with, and what it was sent. */
const running = new Set<ServerResponse>()
const uploads: { readonly path: string; readonly sha256: string; readonly bytes: number; readonly coding: string | undefined }[] = []
const upstream = createServer((request, response) => {
  const path = request.url ?? ''
  running.add(response)
  response.once('close', () => running.delete(response))
  response.on('error', () => {})
  if (path.startsWith('/hang')) return
  if (path.startsWith('/stream')) {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const beat = setInterval(() => response.write('data: beat\n\n'), 50)
    response.once('close', () => clearInterval(beat))
    return
  }
  const hash = createHash('sha256')
  let bytes = 0
  request.on('error', () => {})
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    hash.update(chunk)
  })
  request.on('end', () => {
    uploads.push({ path, sha256: hash.digest('hex'), bytes, coding: request.headers['content-encoding'] })
    response.end(path)
  })
})

let range: Range
let token: string
let gateway: number

beforeAll(async () => {
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`
  const loopback = 'egressAllow: [127.0.0.0/8]'
  range = await startRange(
    {
      plain: { url },
      quick: { url, more: `${loopback}\nscopes: ["use"]\ntimeouts: { idle: 1 }` },
      read: { url, more: `${loopback}\nscopes: ["read"]\ntimeouts: { idle: 1 }` },
    },
    `  - id: small
    deny: ["read"]
    on: ["*"]
    for: { any: true }
    when: operation.body.amount > 500.0
`,
  )
  token = await range.mandate('plain')
  gateway = range.port('gateway')
}, 120_000)
afterAll(async () => {
  await range?.stop()
  upstream.closeAllConnections()
  upstream.close()
})

const call = (path: string, mandate = token, headers = '', method = 'GET') =>
  `${method} /r/${path} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer ${mandate}\r\n${headers}\r\n`

/** What an honest client sees meanwhile, of every listener that it uses. */
async function honestClient(): Promise<void> {
  for (let at = 0; at < 5; at++) {
    expect(statuses(await exchange(gateway, call(`plain/honest/${at}`, token, 'Connection: close\r\n')))).toEqual([200])
    expect(await range.mandate('plain')).toBeTruthy()
  }
  for (const role of ROLES) {
    const answer = await exchange(range.port(role), 'GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    expect(statuses(answer), role).toEqual([200])
  }
}

const connections = async (): Promise<Record<Role, number>> => {
  const counts = await Promise.all(ROLES.map((role) => range.metric(role, 'caracal_open_connections')))
  return Object.fromEntries(ROLES.map((role, at) => [role, counts[at]])) as Record<Role, number>
}

/** File descriptors and resident bytes of the whole installation, which is one process. */
function taken(): { readonly descriptors: number; readonly bytes: number } {
  const pid = readFileSync(join(range.installation.home, 'lock'), 'utf8').split(' ')[0]
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return {
    descriptors: Number(/FDSize:\s+(\d+)/.exec(status)?.[1] ?? 0),
    bytes: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024,
  }
}

/** Runs an attack beside an honest client, and demands that everything it took is given back. */
async function attack(run: () => Promise<void>): Promise<void> {
  const before = await connections()
  await run()
  await until(
    async () => ({ live: await range.metric('gateway', 'caracal_gateway_live_calls'), running: running.size, open: await connections() }),
    // Connections that this test's own client keeps alive are not the attack's.
    ({ live, running: left, open: now }) => live === 0 && left === 0 && ROLES.every((role) => now[role] <= before[role] + 8),
  )
  await honestClient()
}

const many = (count: number, make: (at: number) => Wire): Wire[] => Array.from({ length: count }, (_, at) => make(at))

describe('a client costs nothing but itself', () => {
  test(
    'idle connections by the hundred at every listener',
    () =>
      attack(async () => {
        const once = 'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n'
        const wires = ROLES.flatMap((role) => many(300, () => open(range.port(role), once, 60_000)))
        await until(connections, (now) => ROLES.every((role) => now[role] >= 300))
        await honestClient()
        for (const { socket } of wires) socket.destroy()
      }),
    120_000,
  )

  test(
    'a byte now and then, in headers or in nothing at all, ends within the time for headers at every listener [P-067]',
    () =>
      attack(async () => {
        const began = performance.now()
        const wires = ROLES.flatMap((role) => [
          ...many(20, () => open(range.port(role), 'GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ', 60_000)),
          ...many(20, () => open(range.port(role), '', 60_000)),
          ...many(20, () => open(range.port(role), 'POST /', 60_000)),
        ])
        const dripping = wires.filter((_, at) => at % 60 < 20)
        const drip = setInterval(() => {
          for (const { send } of dripping) send('a')
        }, 500)
        await honestClient()
        const answers = await Promise.all(wires.map(({ ended }) => ended))
        clearInterval(drip)
        expect(performance.now() - began).toBeLessThan(120_000)
        for (const answer of answers) expect(statuses(answer)).toEqual([408])
        expect(new Set(answers.map(codeOf))).toEqual(new Set(['request_timeout']))
      }),
    120_000,
  )

  test(
    'an upload that stops, and one of a byte at a time that a rule waits for: 408, and the upstream call ends [P-071]',
    () =>
      attack(async () => {
        const [quick, read] = await Promise.all([range.mandate('quick'), range.mandate('read')])
        const json = 'Content-Type: application/json\r\nContent-Length: 60000\r\n'
        const stopped = many(20, () => open(gateway, `${call('quick/up', quick, 'Content-Length: 1000\r\n', 'POST')}abc`))
        const slow = many(20, () => open(gateway, `${call('read/up', read, json, 'POST')}{"amount":`))
        const drip = setInterval(() => {
          for (const { send } of slow) send(' ')
        }, 200)
        const answers = await Promise.all([...stopped, ...slow].map(({ ended }) => ended))
        clearInterval(drip)
        expect(answers.map((answer) => [statuses(answer), codeOf(answer)])).toEqual(answers.map(() => [[408], 'request_timeout']))
        expect(uploads.filter(({ path }) => path === '/up')).toEqual([])
      }),
    120_000,
  )

  test.each<[string, string, string]>([
    ['a hundred thousand headers', 'a: b\r\n'.repeat(100_000), 'headers_too_large'],
    ['two thousand headers that fit', 'a:\r\n'.repeat(2_000), 'headers_too_large'],
    ['a megabyte in one header', `X-Big: ${'a'.repeat(1_048_576)}\r\n`, 'headers_too_large'],
    ['a megabyte in one name', `${'a'.repeat(1_048_576)}: b\r\n`, 'headers_too_large'],
  ])(
    '%s: 431 at every listener [P-067]',
    (_, headers, code) =>
      attack(async () => {
        for (const role of ROLES) {
          const start = role === 'gateway' ? call('plain/x') : 'GET /v1/whoami HTTP/1.1\r\nHost: x\r\n\r\n'
          const answers = await Promise.all(
            Array.from({ length: 5 }, () => exchange(range.port(role), `${start.slice(0, -2)}${headers}Connection: close\r\n\r\n`)),
          )
          // What is still being sent may reset the connection under the answer: then there is none, but never another one.
          for (const answer of answers) expect([[], [431]], `${role}: ${answer.slice(0, 300)}`).toContainEqual(statuses(answer))
          for (const answer of answers) expect([undefined, code]).toContain(codeOf(answer))
        }
      }),
    120_000,
  )

  test(
    'a request line of a megabyte',
    () =>
      attack(async () => {
        for (const role of ROLES) {
          const answer = await exchange(range.port(role), `GET /${'a'.repeat(1_048_576)} HTTP/1.1\r\nHost: x\r\n\r\n`)
          expect([[], [431], [400], [414]], role).toContainEqual(statuses(answer))
        }
      }),
    120_000,
  )

  test(
    'a bomb in gzip stays closed: what no rule reads goes on byte for byte, what a rule reads is not believed',
    () =>
      attack(async () => {
        const bomb = gzipSync(Buffer.alloc(100 * 1024 * 1024), { level: 9 })
        const before = taken().bytes
        const post = async (resource: string, role: Role = 'gateway', path = `/r/${resource}/bomb`) => {
          const mandate = role === 'gateway' ? await range.mandate(resource) : 'x'
          const answer = await fetch(`http://127.0.0.1:${range.port(role)}${path}`, {
            method: 'POST',
            headers: { authorization: `Bearer ${mandate}`, 'content-type': 'application/json', 'content-encoding': 'gzip' },
            body: bomb,
          })
          return [answer.status, codeOf(await answer.text())]
        }
        expect(await post('plain')).toEqual([200, undefined])
        expect(uploads.filter(({ path }) => path === '/bomb')).toEqual([
          { path: '/bomb', sha256: createHash('sha256').update(bomb).digest('hex'), bytes: bomb.length, coding: 'gzip' },
        ])
        expect(await post('read')).toEqual([403, 'condition_failed'])
        for (const [role, path] of [
          ['sts', '/oauth/2/token'],
          ['api', `/v1/zones/${range.zone}/resources`],
          ['coordinator', `/v1/zones/${range.zone}/sessions`],
          ['audit', '/v1/exports'],
        ] as const)
          expect([401, 404, 413, 415], role).toContain((await post('', role, path))[0])
        expect(uploads.filter(({ path }) => path === '/bomb')).toHaveLength(1)
        expect(taken().bytes - before).toBeLessThan(150 * 1024 * 1024)
      }),
    120_000,
  )

  test(
    'a pipeline is answered in its order, and one that is not allowed costs one answer each',
    () =>
      attack(async () => {
        const allowed = Array.from({ length: 50 }, (_, at) => call(`plain/in-order/${at}`, token, at === 49 ? 'Connection: close\r\n' : ''))
        const answers = await open(gateway, allowed.join('')).ended
        expect([...answers.matchAll(/\/in-order\/(\d+)/g)].map(([, at]) => Number(at))).toEqual(allowed.map((_, at) => at))
        const refused = await exchange(gateway, call('plain/x', 'none').repeat(300), 2_000)
        expect(new Set(statuses(refused))).toEqual(new Set([401]))
        expect(statuses(refused)).toHaveLength(300)
      }),
    120_000,
  )
})

describe('a client that closes in the middle', () => {
  const dropSoon = (wire: Wire, when: (text: string) => boolean = () => true) => {
    const drop = () => when(wire.received()) && wire.socket.destroy()
    wire.socket.on('data', drop)
    wire.socket.on('connect', () => setTimeout(drop, Math.random() * 12))
    return wire.ended
  }
  const half = randomBytes(20_000).toString('hex')

  test.each<[string, () => Promise<string>]>([
    ['of its headers', () => dropSoon(open(gateway, call('plain/never').slice(0, 60)))],
    ['of its upload', () => dropSoon(open(gateway, call('plain/cut', token, 'Content-Length: 100000\r\n', 'POST') + half))],
    ['of a chunk', () => dropSoon(open(gateway, `${call('plain/cut', token, 'Transfer-Encoding: chunked\r\n', 'POST')}fffff\r\n${half}`))],
    ['of the decision or its evidence', () => dropSoon(open(gateway, call('plain/soon')))],
    ['of the wait for an answer', () => dropSoon(open(gateway, call('plain/hang')))],
    ['of a stream', () => dropSoon(open(gateway, call('plain/stream')), (text) => text.includes('beat'))],
    ['of a pipeline', () => dropSoon(open(gateway, call('plain/hang') + call('plain/stream').repeat(5)))],
  ])(
    '%s leaves nothing behind, and every call that went out has its end in evidence [P-071] [P-096]',
    (_, run) =>
      attack(async () => {
        const jti = claims(token).jti
        const known = new Set((await range.events(`jti=${jti}&order=desc`)).map(({ request_id }) => request_id))
        await Promise.all([honestClient(), ...Array.from({ length: 30 }, run)])
        await until(
          async () => {
            const found = (await range.events(`jti=${jti}&order=desc`)).filter(({ request_id }) => !known.has(request_id))
            const ids = (type: string) => found.flatMap((event) => (event.type === type ? [event.request_id] : [])).sort()
            return { allowed: ids('call.allowed'), finished: ids('call.finished') }
          },
          ({ allowed, finished }) => allowed.length >= 5 && JSON.stringify(allowed) === JSON.stringify(finished),
        )
        expect(uploads.filter(({ path }) => path === '/cut' || path === '/never')).toEqual([])
      }),
    120_000,
  )
})

test(
  'a client that reads nothing holds the upstream back, not the memory [P-071]',
  () =>
    attack(async () => {
      const before = taken().bytes
      const wires = many(50, () => {
        const wire = open(gateway, call('plain/stream'))
        wire.socket.pause()
        return wire
      })
      await until(
        () => running.size,
        (count) => count === 50,
      )
      await honestClient()
      expect(taken().bytes - before).toBeLessThan(150 * 1024 * 1024)
      for (const { socket } of wires) socket.destroy()
    }),
  120_000,
)

test('a client whose own library waits for 100 Continue gets it or the refusal, never both', async () => {
  const post = (path: string) =>
    new Promise<[boolean, number]>((resolve) => {
      let continued = false
      const headers = { authorization: `Bearer ${token}`, expect: '100-continue', 'content-length': 5 }
      const request = httpRequest({ port: gateway, host: '127.0.0.1', path, method: 'POST', headers, agent: false })
      request.on('continue', () => {
        continued = true
        request.end('abcde')
      })
      request.on('response', (response) => {
        response.resume()
        request.destroy()
        resolve([continued, response.statusCode ?? 0])
      })
      request.on('error', () => {})
      request.flushHeaders()
    })
  expect(await post('/r/plain/continued')).toEqual([true, 200])
  expect(await post('/r/quick/other-audience')).toEqual([false, 401])
})

function claims(mandate: string): { readonly jti: string } {
  return JSON.parse(Buffer.from(mandate.split('.')[1] ?? '', 'base64url').toString()) as { jti: string }
}
