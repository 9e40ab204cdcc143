import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { KEY, LAB, type Lab, startLab } from './lab.ts'

let lab: Lab
let gateway: URL
let token: string

beforeAll(async () => {
  lab = await startLab()
  gateway = new URL(lab.installation.endpoints.gateway)
  token = (await lab.mandate()).token
}, 90_000)

beforeEach(() => {
  lab.upstream.seen.length = 0
})

afterAll(() => lab?.stop())

type Answer = { readonly status: number; readonly headers: string; readonly code: string | undefined; readonly body: string }

/** Bytes on a socket: what no HTTP client lets one send. */
function raw(text: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect(Number(gateway.port), gateway.hostname, () => socket.write(text))
    socket.setTimeout(10_000, () => socket.destroy(new Error('no answer')))
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1')
    })
    socket.once('error', reject)
    socket.once('close', () => {
      const [headers = '', body = ''] = answer.split('\r\n\r\n')
      resolve({
        status: Number(/^HTTP\/1\.1 (\d+)/.exec(headers)?.[1]),
        headers: headers.toLowerCase(),
        code: /"code":"(\w+)"/.exec(body)?.[1],
        body,
      })
    })
  })
}

const send = (method: string, target: string, headers: readonly string[] = [`Authorization: Bearer ${token}`], body = '') =>
  raw(`${method} ${target} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n${headers.join('\r\n')}\r\n\r\n${body}`)

const post = (body: string, headers: readonly string[] = []) =>
  send(
    'POST',
    '/r/lab/items',
    [`Authorization: Bearer ${token}`, 'Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body)}`, ...headers],
    body,
  )

/** A JWT with another header and no signature of ours. */
function forged(header: object): string {
  const [, claims] = token.split('.')
  return `${Buffer.from(JSON.stringify(header)).toString('base64url')}.${claims}.${Buffer.alloc(64).toString('base64url')}`
}

describe('every refusal of the Gateway has its status and code, says whose it is, and nothing reaches the upstream [P-068]', () => {
  const bearer = (text: string) => [`Authorization: Bearer ${text}`]
  const table: [what: string, status: number, code: string, ask: () => Promise<Answer>][] = [
    ['no credential', 401, 'unauthenticated', () => send('GET', '/r/lab/items/1', [])],
    ['another scheme', 401, 'invalid_token', () => send('GET', '/r/lab/items/1', ['Authorization: Basic YTpi'])],
    ['two credentials', 400, 'invalid_request', () => send('GET', '/r/lab/items/1', [...bearer(token), ...bearer(token)])],
    ['no JWT', 401, 'invalid_token', () => send('GET', '/r/lab/items/1', bearer('abc'))],
    ['alg none', 401, 'invalid_token', () => send('GET', '/r/lab/items/1', bearer(forged({ typ: 'at+jwt', alg: 'none', kid: 'x' })))],
    ['HMAC', 401, 'invalid_token', () => send('GET', '/r/lab/items/1', bearer(forged({ typ: 'at+jwt', alg: 'HS256', kid: 'x' })))],
    [
      'an unknown key',
      401,
      'invalid_token',
      () => send('GET', '/r/lab/items/1', bearer(forged({ typ: 'at+jwt', alg: 'ES256', kid: 'x' }))),
    ],
    ['a changed signature', 401, 'invalid_token', () => send('GET', '/r/lab/items/1', bearer(`${token.slice(0, -8)}AAAAAAAA`))],
    ['another resource', 401, 'wrong_audience', () => send('GET', '/r/away/x')],
    ['a resource that does not exist, alike', 401, 'wrong_audience', () => send('GET', '/r/nothing/x')],
    [
      'another identifier',
      401,
      'wrong_audience',
      () => send('GET', '/items/1', [...bearer(token), 'X-Caracal-Resource: https://away.example/']),
    ],
    [
      'header and path that differ',
      400,
      'invalid_request',
      () => send('GET', '/r/away/items/1', [...bearer(token), `X-Caracal-Resource: ${LAB}`]),
    ],
    ['an undeclared operation', 403, 'operation_not_declared', () => send('DELETE', '/r/lab/items/1')],
    ['an undeclared path', 403, 'operation_not_declared', () => send('GET', '/r/lab/other')],
    ['an encoded separator', 400, 'malformed_path', () => send('GET', '/r/lab/items/a%2Fb')],
    ['TRACE', 405, 'method_not_allowed', () => send('TRACE', '/r/lab/items/1')],
    ['CONNECT', 405, 'method_not_allowed', () => send('CONNECT', 'lab:80')],
    [
      'WebSocket',
      501,
      'not_implemented',
      () => send('GET', '/r/lab/items/1', [...bearer(token), 'Connection: upgrade', 'Upgrade: websocket']),
    ],
    ['a body that says it is too large', 413, 'body_too_large', () => post('x'.repeat(1001))],
    ['a body that a rule denies', 403, 'denied_by_rule', () => post('{"amount": 501}')],
    ['a body with a key twice', 403, 'condition_failed', () => post('{"amount": 1, "amount": 501}')],
    ['a body that is no JSON', 403, 'condition_failed', () => post('amount=1')],
    ['absolute form', 400, 'malformed_path', () => send('GET', 'http://lab/r/lab/items/1')],
    ['a path of nobody', 404, 'not_found', () => send('GET', '/internal/snapshot')],
    ['metrics on the public port', 404, 'not_found', () => send('GET', '/metrics')],
    ['headers over 16 KiB', 431, 'headers_too_large', () => send('GET', '/r/lab/items/1', [`X-Fill: ${'x'.repeat(17_000)}`])],
  ]
  test.each(table)('%s: %i %s', async (_, status, code, ask) => {
    const answer = await ask()
    expect(answer).toMatchObject({ status, code })
    expect(answer.headers).toContain('x-caracal-source: gateway')
    expect(answer.headers).toMatch(/x-request-id: req_/)
    if (status === 401) expect(answer.headers).toContain('www-authenticate:')
    expect(lab.upstream.seen).toEqual([])
  })

  test('an upstream at a private address that nobody allowed: 403 upstream_not_allowed [P-079] [0-27]', async () => {
    const { token: guarded } = await lab.mandate({ resource: 'https://guarded.example/' })
    expect(await send('GET', '/r/guarded/x', [`Authorization: Bearer ${guarded}`])).toMatchObject({
      status: 403,
      code: 'upstream_not_allowed',
    })
  })

  test('an upstream that is away: 502 upstream_unreachable [0-27]', async () => {
    const { token: away } = await lab.mandate({ resource: 'https://away.example/' })
    expect(await send('GET', '/r/away/x', [`Authorization: Bearer ${away}`])).toMatchObject({ status: 502, code: 'upstream_unreachable' })
  })

  test('a mandate whose scope does not reach: 403 insufficient_scope, which names the scope', async () => {
    const { token: narrow } = await lab.mandate({ scope: 'lab:write' })
    const answer = await send('GET', '/r/lab/items/1', [`Authorization: Bearer ${narrow}`])
    expect(answer).toMatchObject({ status: 403, code: 'insufficient_scope' })
    expect(answer.body).toContain('lab:read')
  })

  test('a mandate that has expired, been used or been revoked', async () => {
    const brief = await lab.mandate({ ttl: '1' })
    const once = await lab.mandate({ once: 'true' })
    const revoked = await lab.mandate()
    expect((await send('GET', '/r/lab/items/1', bearer(once.token))).status).toBe(200)
    lab.upstream.seen.length = 0
    expect(await send('GET', '/r/lab/items/1', bearer(once.token))).toMatchObject({ status: 401, code: 'token_replayed' })
    await lab.installation.caracal(['revoke', 'mandate', revoked.id, '--zone', 'lab', '--yes'])
    await expect.poll(async () => (await send('GET', '/r/lab/items/1', bearer(revoked.token))).code).toBe('token_revoked')
    await sleep(1_100)
    expect(await send('GET', '/r/lab/items/1', bearer(brief.token))).toMatchObject({ status: 401, code: 'token_expired' })
  })
})

describe('the path decided on is the path forwarded [P-063]', () => {
  test.each([
    '/r/lab/items/../frozen',
    '/r/lab/items/%2e%2e/frozen',
    '/r/lab/items/%252e%252e/frozen',
    '/r/lab/items/..%2ffrozen',
    '/r/lab/./frozen',
    '/r/lab/items\\..\\frozen',
    '/r/lab/items/%5c..%5cfrozen',
    '/r/lab/items/..;/frozen',
    '/r/lab/items/%zz',
    '/r/lab/items/%c0%ae%c0%ae/frozen',
    '/r/lab/items/1%00',
  ])('%s is refused', async (target) => {
    const answer = await send('GET', target)
    expect([400, 403]).toContain(answer.status)
    expect(lab.upstream.seen).toEqual([])
  })

  test.each([
    ['/r/lab/items/1', '/items/1'],
    ['/r/lab/items/%61', '/items/%61'],
    ['/r/lab/items/a%20b?q=%2F..%2F&q=2', '/items/a%20b?q=%2F..%2F&q=2'],
    ['/r/lab/items/1?', '/items/1?'],
  ])('%s goes out byte for byte', async (target, url) => {
    const answer = await send('GET', target)
    expect(answer.status).toBe(200)
    expect(lab.upstream.seen.map((seen) => seen.url)).toEqual([url])
  })

  test.each(['/r/lab//items/1', '/r/lab/items/1/', '/r/lab/items//1', '/r/lab/Items/1', '/R/lab/items/1'])(
    '%s is not another spelling of a declared operation',
    async (target) => {
      const answer = await send('GET', target)
      expect([400, 403, 404]).toContain(answer.status)
      expect(lab.upstream.seen).toEqual([])
    },
  )
})

describe('an allowed call', () => {
  test('reaches the upstream with its own credential and nothing of the caller [P-069]', async () => {
    const answer = await send('GET', '/r/lab/items/1', [
      `Authorization: Bearer ${token}`,
      'X-Api-Key: mine',
      'Cookie: a=b',
      'X-Forwarded-For: 1.2.3.4',
      'X-Caracal-Actor: root',
      'Accept: text/plain',
    ])
    expect(answer).toMatchObject({ status: 200 })
    expect(answer.headers).toContain('x-caracal-decision: allow')
    expect(answer.headers).not.toContain('x-caracal-source')
    const [seen] = lab.upstream.seen
    expect(seen?.headers).toMatchObject({ 'x-api-key': KEY, accept: 'text/plain' })
    for (const name of ['authorization', 'cookie', 'x-forwarded-for', 'x-caracal-actor']) expect(seen?.headers).not.toHaveProperty(name)
    expect(answer.body).not.toContain(KEY)
  })

  test('may carry a body that the rules allow, and it arrives', async () => {
    expect((await post('{"amount": 12}')).status).toBe(200)
  })

  test('is evidenced with its outcome, and explained by its request id [P-033]', async () => {
    const answer = await fetch(new URL('/r/lab/items/7', gateway), { headers: { authorization: `Bearer ${token}` } })
    const id = answer.headers.get('x-request-id') ?? ''
    await expect
      .poll(async () => (await lab.installation.caracal(['explain', id, '--zone', 'lab'])).stdout, { timeout: 10_000, interval: 200 })
      .toMatch(/call\.allowed[\s\S]*call\.finished[\s\S]*lab\/use/)
    const refused = await fetch(new URL('/r/lab/items/7', gateway), { method: 'DELETE', headers: { authorization: `Bearer ${token}` } })
    await expect
      .poll(async () => (await lab.installation.caracal(['explain', refused.headers.get('x-request-id') ?? '', '--zone', 'lab'])).stdout, {
        timeout: 10_000,
        interval: 200,
      })
      .toContain('operation_not_declared')
  }, 30_000)
})

describe('revoking cuts a running stream, whatever was revoked [P-059] [P-176]', () => {
  async function openStream(mandate: string) {
    const answer = await fetch(new URL('/r/lab/stream', gateway), { headers: { authorization: `Bearer ${mandate}` } })
    expect(answer.status).toBe(200)
    const reader = (answer.body as ReadableStream<Uint8Array>).getReader()
    await reader.read()
    const ended = (async () => {
      for (;;) {
        const { done } = await reader.read()
        if (done) return
      }
    })().catch(() => undefined)
    return { ended }
  }

  test.each(['mandate', 'application', 'session'])(
    '%s',
    async (kind) => {
      const by = kind === 'application' ? lab.helper : lab.caller
      const session = kind === 'session' ? await startSession() : undefined
      const { token: mandate, id } = await lab.mandate(session === undefined ? {} : { session }, by)
      const stream = await openStream(mandate)
      const target = { mandate: id, application: by.clientId, session: session ?? '' }[kind] ?? ''
      const began = performance.now()
      const revoked = await lab.installation.caracal(['revoke', kind, target, '--zone', 'lab', '--yes'])
      expect(revoked.code, revoked.stderr).toBe(0)
      await stream.ended
      expect(performance.now() - began).toBeLessThan(5_000)
      expect(await send('GET', '/r/lab/items/1', [`Authorization: Bearer ${mandate}`])).toMatchObject({ code: 'token_revoked' })
    },
    30_000,
  )

  async function startSession(): Promise<string> {
    const issuer = `${lab.installation.endpoints.sts}/zones/${lab.zone}`
    const { body } = await lab.token(lab.caller, { resource: issuer, scope: 'sessions' })
    const answer = await fetch(`${lab.installation.endpoints.coordinator}/v1/zones/${lab.zone}/sessions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${body.access_token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ kind: 'task', ttl: 600 }),
    })
    expect(answer.status).toBe(201)
    return ((await answer.json()) as { id: string }).id
  }
})
