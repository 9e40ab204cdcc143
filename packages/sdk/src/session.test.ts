import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Caracal, type CaracalOptions } from './caracal.ts'
import type { CaracalEvent } from './session.ts'

/** STS, Coordinator and Gateway in one server: how it answers the next ends is written down before. */
let server: Server
let url: string
let mints: number
let started: { key: string; body: unknown }[]
let ends: { session: string; token: string }[]
let nextStarts: ('cut' | number)[]
let nextEnds: ('cut' | number)[]
let calls: IncomingMessage['headers'][]
let events: CaracalEvent[]

beforeAll(async () => {
  server = createServer(async (request, response) => {
    let text = ''
    for await (const chunk of request) text += chunk
    answer(request, response, text)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.close()
  server.closeAllConnections()
})
beforeEach(() => {
  mints = 0
  started = []
  ends = []
  nextStarts = []
  nextEnds = []
  calls = []
  events = []
})

function answer(request: IncomingMessage, response: ServerResponse, text: string) {
  const json = (status: number, body: unknown) =>
    void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  const refuse = (how: 'cut' | number) =>
    how === 'cut' ? void request.socket.destroy() : json(how, { code: how === 401 ? 'token_revoked' : 'x' })
  if (request.url === '/oauth/2/token') {
    mints += 1
    return json(200, { access_token: `token-${mints}`, expires_in: 300, scope: 'sessions' })
  }
  if (request.url === '/v1/zones/zon_1/sessions') {
    const how = nextStarts.shift()
    const key = String(request.headers['idempotency-key'])
    // As the Coordinator: a key that was seen before starts nothing more, also when its answer was lost.
    if (!started.some((one) => one.key === key)) started.push({ key, body: JSON.parse(text) })
    return how === undefined ? json(201, { id: `ses_${started.length}` }) : refuse(how)
  }
  const ended = /^\/v1\/zones\/zon_1\/sessions\/(\w+)\/end$/.exec(request.url ?? '')?.[1]
  if (ended !== undefined) {
    ends.push({ session: ended, token: String(request.headers.authorization) })
    const how = nextEnds.shift()
    return how === undefined ? json(200, { id: ended }) : refuse(how)
  }
  calls.push(request.headers)
  return json(200, { fine: true })
}

const open = (more: Partial<CaracalOptions> = {}) =>
  new Caracal({
    stsUrl: url,
    gatewayUrl: url,
    coordinatorUrl: url,
    zone: 'zon_1',
    clientId: 'app_1',
    authentication: { clientSecret: 's' },
    onEvent: (event) => void events.push(event),
    ...more,
  })
const ttl = { ttlSeconds: 60 }

describe('[P-151] clean-up never spoils success', () => {
  test('the bootstrap mandate is revoked during the callback: its result is returned, the session is ended with another mandate', async () => {
    const result = await open().session(ttl, async (session) => {
      await session.fetch('https://r.example/', '/x')
      nextEnds = [401]
      return `result of ${session.id}`
    })
    expect(result).toBe('result of ses_1')
    expect(ends.map(({ session }) => session)).toEqual(['ses_1', 'ses_1'])
    expect(new Set(ends.map(({ token }) => token)).size).toBe(2)
    expect(events).toEqual([])
  })

  test.each([
    ['is busy for a moment', [503, 503]],
    ['breaks off', ['cut', 'cut']],
  ] as const)('a Coordinator that %s is asked again', async (_, answers) => {
    nextEnds = [...answers]
    expect(await open().session(ttl, async () => 'result')).toBe('result')
    expect(ends).toHaveLength(3)
    expect(events).toEqual([])
  })

  test.each([
    ['is refused for good', [403], 1],
    ['is refused with every mandate', Array<number>(9).fill(401), 4],
    ['never gets an answer', Array<'cut'>(9).fill('cut'), 4],
  ])('an end that %s is an event, and the result is returned', async (_, answers, tries) => {
    nextEnds = [...answers]
    expect(await open().session(ttl, async () => 'result')).toBe('result')
    expect(ends).toHaveLength(tries)
    expect(events).toMatchObject([{ type: 'session_not_ended', session: 'ses_1', error: { name: 'CaracalError' } }])
  })

  test('what the callback throws is what the caller gets, whatever becomes of the end; the session is ended all the same', async () => {
    nextEnds = [403]
    const broken = new Error('the agent failed')
    await expect(open().session(ttl, () => Promise.reject(broken))).rejects.toBe(broken)
    expect(ends).toHaveLength(1)
    expect(events).toHaveLength(1)
  })

  test('a listener that throws spoils nothing either', async () => {
    nextEnds = [403]
    const onEvent = () => {
      throw new Error('the listener is broken')
    }
    expect(await open({ onEvent }).session(ttl, async () => 'result')).toBe('result')
  })

  test('close() is idempotent and complete: it ends every session once, also one that is only being started, and takes nothing more', async () => {
    const caracal = open()
    const held = Promise.withResolvers<void>()
    const running = [1, 2].map(() => caracal.session(ttl, () => held.promise))
    await expect.poll(() => started.length).toBe(2)
    const late = caracal.session(ttl, () => Promise.resolve('too late'))
    const lost = expect(late).rejects.toMatchObject({ code: 'closed' })
    await Promise.all([caracal.close(), caracal.close()])
    const ended = ends.map(({ session }) => session).sort()
    expect(ended).toEqual(['ses_1', 'ses_2', 'ses_3'])
    await caracal.close()
    held.resolve()
    await Promise.all([...running, lost])
    expect(ends).toHaveLength(3)
    for (const after of [
      caracal.fetch('https://r.example/', '/x'),
      caracal.mandate({ resource: 'https://r.example/' }),
      caracal.session(ttl, () => Promise.resolve(1)),
    ])
      await expect(after).rejects.toMatchObject({ code: 'closed' })
  })

  test('a close that finds nothing open asks nobody', async () => {
    await open({ coordinatorUrl: 'http://127.0.0.1:9' }).close()
    expect(mints).toBe(0)
  })
})

test('a start whose answer was lost is asked for again under the same key: one session', async () => {
  nextStarts = ['cut']
  await open().session({ ttlSeconds: 60, parent: 'ses_0', labels: ['l'] }, async () => undefined)
  expect(started).toEqual([{ key: expect.any(String), body: { kind: 'task', ttl: 60, parent: 'ses_0', labels: ['l'] } }])
  expect(ends).toHaveLength(1)
})

test('a start that is refused is an error, and nothing is run or ended', async () => {
  nextStarts = [403]
  await expect(open().session(ttl, () => Promise.reject(new Error('never run')))).rejects.toMatchObject({ status: 403 })
  expect(ends).toEqual([])
})
