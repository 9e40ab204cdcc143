import { once } from 'node:events'
import { egressCall } from '@caracal/enforcement-point'
import { createEgressGuard, parseCidr, type Resolve } from '@caracal/service'
import { Pool } from 'undici'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startUpstream, type TestServer } from './test-support/data-path.ts'

const loopback = [parseCidr('127.0.0.0/8')].filter((cidr) => cidr !== null)
const open = { allow: loopback, connectMs: 1_000 }
const closed = { allow: [], connectMs: 1_000 }
const answers =
  (...addresses: string[]): Resolve =>
  async () =>
    addresses

describe('check', () => {
  it.each([
    ['a private answer', answers('10.0.0.1'), 'upstream_not_allowed'],
    ['a public answer beside a private one', answers('1.1.1.1', '10.0.0.1'), 'upstream_not_allowed'],
    ['a private IPv6 answer beside a public IPv4 one', answers('1.1.1.1', 'fd00::1'), 'upstream_not_allowed'],
    ['a mapped answer', answers('::ffff:127.0.0.1'), 'upstream_not_allowed'],
    ['something that is no address', answers('localhost'), 'upstream_not_allowed'],
    ['no answer', answers(), 'upstream_unreachable'],
    ['a failure', () => Promise.reject(new Error('SERVFAIL')), 'upstream_unreachable'],
    ['silence', () => new Promise<never>(() => {}), 'upstream_timeout'],
  ] as const)('%s is refused [P-080]', async (_name, resolve, reason) => {
    const guard = createEgressGuard({ resolve })
    expect(await guard.check('api.example', { allow: [], connectMs: 50 })).toMatchObject({ ok: false, reason })
  })

  it.each(['127.0.0.1', '[::1]', '169.254.169.254', '[::ffff:127.0.0.1]'])(
    'the address %s as host is checked like an answer',
    async (host) => {
      const guard = createEgressGuard({ resolve: () => Promise.reject(new Error('asked for an address')) })
      expect(await guard.check(host, closed)).toMatchObject({ reason: 'upstream_not_allowed' })
    },
  )

  it('what goes out in clear may only go to listed addresses, public ones included', async () => {
    const allow = [parseCidr('8.8.8.0/24')].filter((cidr) => cidr !== null)
    for (const [address, listed, usual] of [
      ['8.8.8.8', true, true],
      ['1.1.1.1', false, true],
      ['10.0.0.1', false, false],
      ['169.254.169.254', false, false],
    ] as const) {
      const guard = createEgressGuard({ resolve: answers(address) })
      expect((await guard.check('x.example', { allow, connectMs: 50, listedOnly: true })).ok, address).toBe(listed)
      expect((await guard.check('x.example', { allow, connectMs: 50 })).ok, address).toBe(usual)
    }
  })

  it('an allow-list of hosts comes before any name is asked for', async () => {
    const asked: string[] = []
    const resolve: Resolve = async (host) => [asked.push(host) > 0 ? '1.1.1.1' : '']
    const guard = createEgressGuard({ resolve, allowHosts: ['api.example', '.corp.example'] })
    for (const host of ['API.example', 'a.corp.example', 'b.a.corp.example']) expect((await guard.check(host, closed)).ok, host).toBe(true)
    for (const host of ['other.example', 'corp.example', 'xapi.example', 'notcorp.example', '8.8.8.8'])
      expect(await guard.check(host, closed), host).toMatchObject({ reason: 'upstream_not_allowed' })
    expect(asked).toEqual(['api.example', 'a.corp.example', 'b.a.corp.example'])
  })
})

describe('connector', () => {
  let upstream: TestServer
  const seen: string[] = []
  beforeAll(async () => {
    upstream = await startUpstream((req, res) => {
      seen.push(req.headers.host ?? '')
      if (req.url === '/moved') res.writeHead(302, { location: 'http://127.0.0.1/elsewhere' }).end()
      else if (req.url === '/large') res.end('x'.repeat(10_000))
      else res.end('ok')
    })
  })
  afterAll(() => upstream.close())

  it('a name that answers differently the second time is asked once, and the checked address is dialled [P-080]', async () => {
    let asked = 0
    const resolve: Resolve = async () => (++asked === 1 ? ['127.0.0.1'] : ['169.254.169.254'])
    const pool = new Pool(`http://rebind.example:${upstream.port}`, { connect: createEgressGuard({ resolve }).connector(open) })
    const answer = await pool.request({ path: '/', method: 'GET' })
    expect(await answer.body.text()).toBe('ok')
    expect(asked).toBe(1)
    expect(seen.at(-1)).toBe(`rebind.example:${upstream.port}`)
    await pool.destroy()
  })

  it('a name that turns hostile is refused with the next connection [P-080]', async () => {
    let asked = 0
    const resolve: Resolve = async () => (++asked === 1 ? ['127.0.0.1'] : ['169.254.169.254'])
    const pool = new Pool(`http://rebind.example:${upstream.port}`, {
      connect: createEgressGuard({ resolve }).connector(open),
      pipelining: 0,
    })
    const gone = once(pool, 'disconnect')
    await (await pool.request({ path: '/', method: 'GET' })).body.text()
    await gone
    await expect(pool.request({ path: '/', method: 'GET' })).rejects.toMatchObject({ reason: 'upstream_not_allowed' })
    await pool.destroy()
  })

  it('dials the next checked address when one does not accept', async () => {
    const guard = createEgressGuard({ resolve: answers('127.0.0.9', '127.0.0.1') })
    const pool = new Pool(`http://two.example:${upstream.port}`, { connect: guard.connector(open) })
    expect((await pool.request({ path: '/', method: 'GET' })).statusCode).toBe(200)
    await pool.destroy()
  })

  it('checks the certificate against the name although it dials the address', async () => {
    const guard = createEgressGuard({ resolve: answers('127.0.0.1') })
    const pool = new Pool(`https://tls.example:${upstream.port}`, { connect: guard.connector(open) })
    await expect(pool.request({ path: '/', method: 'GET' })).rejects.toMatchObject({ reason: 'upstream_unreachable' })
    await pool.destroy()
  })

  it('a small call goes the same way: no redirect, a capped answer, only http [P-080]', async () => {
    const guard = createEgressGuard({ resolve: answers('127.0.0.1') })
    const call = (url: string, rules = open) => egressCall(guard, { url, method: 'GET', headers: {}, rules, maxBytes: 1_000 })
    const base = `http://token.example:${upstream.port}`
    expect(await call(`${base}/`)).toMatchObject({ ok: true, value: { status: 200, body: Buffer.from('ok') } })
    expect(await call(`${base}/moved`)).toMatchObject({ ok: true, value: { status: 302 } })
    expect(await call(`${base}/large`)).toMatchObject({ ok: false, reason: 'upstream_protocol_error' })
    expect(await call(`${base}/`, closed)).toMatchObject({ ok: false, reason: 'upstream_not_allowed' })
    expect(await call('file:///etc/passwd')).toMatchObject({ ok: false, reason: 'upstream_not_allowed' })
    expect(await call(`http://user:secret@token.example:${upstream.port}/`)).toMatchObject({ ok: false, reason: 'upstream_not_allowed' })
  })
})
