import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Caracal, CaracalError, type CaracalOptions, mandateVerifier, RevocationFeed } from '@caracal/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Installation, startInstallation } from './installation.ts'

const NOTES = 'https://notes.example/'

let installation: Installation
let authentication: { clientSecret: string }
let clientId: string
let zone: string

beforeAll(async () => {
  installation = await startInstallation()
  const credential = JSON.parse(readFileSync(join(installation.home, 'credentials/demo-agent.json'), 'utf8')) as {
    clientId: string
    clientSecret: string
  }
  clientId = credential.clientId
  authentication = { clientSecret: credential.clientSecret }
  const zones = JSON.parse((await installation.caracal(['--json', 'get', 'zones'])).stdout) as { id: string }[]
  zone = zones[0]?.id ?? ''
}, 60_000)

afterAll(() => installation?.remove())

/** A fetch that counts what it is asked for. */
function counting() {
  const mints: string[] = []
  const counted: typeof fetch = (input, init) => {
    if (String(input).endsWith('/oauth/2/token')) mints.push(String(input))
    return fetch(input, init)
  }
  return { mints, fetch: counted }
}

const agent = (more: Partial<CaracalOptions> = {}) =>
  new Caracal({ stsUrl: installation.endpoints.sts, gatewayUrl: `${installation.endpoints.gateway}/`, clientId, authentication, ...more })

describe('an agent', () => {
  test('[P-152] calls many times with one mandate, and asks for another only when what it asks for differs', async () => {
    const { mints, fetch } = counting()
    const caracal = agent({ fetch })
    const answers = await Promise.all(Array.from({ length: 50 }, () => caracal.fetch(NOTES, '/notes/1', { scopes: ['notes:read'] })))
    expect(answers.map((answer) => answer.status)).toEqual(Array.from({ length: 50 }, () => 200))
    for (let call = 0; call < 200; call++) await (await caracal.fetch(NOTES, '/notes', { scopes: ['notes:read'] })).arrayBuffer()
    expect(mints).toHaveLength(1)
    await caracal.fetch(NOTES, '/notes', { scopes: ['notes:read'], ttlSeconds: 100 })
    expect(mints).toHaveLength(2)
  })

  test('[P-154] a refusal is an error with code, request id and what to do; the upstream’s own 404 is a response', async () => {
    const caracal = agent()
    const refused = await caracal.fetch(NOTES, '/notes/1', { method: 'DELETE', scopes: ['notes:read'] }).catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(CaracalError)
    expect(refused).toMatchObject({ code: 'insufficient_scope', status: 403, retryable: false, requestId: expect.stringMatching(/^req_/) })
    const unknown = await caracal.fetch('https://nowhere.example/', '/').catch((error: unknown) => error)
    expect(unknown).toMatchObject({ code: 'invalid_target', status: 400 })
    expect((await caracal.fetch(NOTES, '/notes/none', { scopes: ['notes:read'] })).status).toBe(404)
    const away = new Caracal({ stsUrl: 'http://127.0.0.1:9', gatewayUrl: 'http://127.0.0.1:9', clientId, authentication })
    expect(await away.fetch(NOTES, '/').catch((error: unknown) => error)).toMatchObject({ code: 'unreachable', retryable: true })
  })

  test('[P-151] a session whose bootstrap mandate is revoked while it runs: the result is returned, and the session has ended', async () => {
    const tokens: string[] = []
    const recording: typeof fetch = async (input, init) => {
      const answer = await fetch(input, init)
      if (String(input).endsWith('/oauth/2/token')) tokens.push(((await answer.clone().json()) as { access_token: string }).access_token)
      return answer
    }
    const events: unknown[] = []
    const caracal = agent({
      fetch: recording,
      coordinatorUrl: installation.endpoints.coordinator,
      zone,
      onEvent: (event) => void events.push(event),
    })
    const id = await caracal.session({ ttlSeconds: 120 }, async (session) => {
      expect((await session.fetch(NOTES, '/notes/1', { scopes: ['notes:read'] })).status).toBe(200)
      const bootstrap = JSON.parse(Buffer.from(tokens[0]?.split('.')[1] ?? '', 'base64url').toString()) as { jti: string }
      const revoked = await installation.caracal(['revoke', 'mandate', bootstrap.jti, '--zone', 'quickstart', '--yes'])
      expect(revoked.code, revoked.stderr).toBe(0)
      return session.id
    })
    expect(events).toEqual([])
    const shown = await installation.caracal(['--json', 'get', 'session', id, '--zone', 'quickstart'])
    expect(JSON.parse(shown.stdout)).toMatchObject({ id, state: 'ended' })
    await caracal.close()
  }, 30_000)

  test('a single-use mandate works once', async () => {
    const caracal = agent()
    const token = await caracal.mandate({ resource: NOTES, scopes: ['notes:read'], once: true })
    const call = () => fetch(`${installation.endpoints.gateway}/r/notes/notes/1`, { headers: { authorization: `Bearer ${token}` } })
    expect((await call()).status).toBe(200)
    const again = await call()
    expect(again.status).toBe(401)
    expect(await again.json()).toMatchObject({ code: 'token_replayed' })
  })
})

describe('a resource server', () => {
  test('[P-062] verifies offline against the published keys and follows revocations over HTTP; a cut feed is a 503', async () => {
    const relay = await startRelay(installation.endpoints.api)
    const feed = new RevocationFeed({ apiUrl: relay.url, zone, token: adminToken(), maxAge: 2_500 })
    await feed.start()
    const verify = mandateVerifier({ issuer: `${installation.endpoints.sts}/zones/${zone}`, audience: NOTES, revocations: feed })
    const token = await agent().mandate({ resource: NOTES, scopes: ['notes:read'], ttlSeconds: 600 })
    const verified = await verify(token, { scopes: ['notes:read'] })
    expect(verified).toMatchObject({ application: clientId, subject: clientId, scopes: ['notes:read'] })
    await expect(verify(token, { scopes: ['notes:delete'] })).rejects.toMatchObject({ status: 403, code: 'insufficient_scope' })
    await expect(verify(`${token.slice(0, -4)}AAAA`)).rejects.toMatchObject({ status: 401, code: 'invalid_token' })

    const revoked = await installation.caracal(['revoke', 'mandate', verified.id, '--zone', 'quickstart', '--yes'])
    expect(revoked.code, revoked.stderr).toBe(0)
    await expect
      .poll(
        () =>
          verify(token).then(
            () => 'accepted',
            (error: CaracalError) => error.code,
          ),
        { timeout: 10_000 },
      )
      .toBe('token_revoked')

    const other = await agent().mandate({ resource: NOTES, scopes: ['notes:read'], ttlSeconds: 500 })
    await verify(other)
    relay.cut()
    await expect
      .poll(
        () =>
          verify(other).then(
            () => 'accepted',
            (error: CaracalError) => error.code,
          ),
        { timeout: 8_000 },
      )
      .toBe('revocation_view_stale')
    relay.restore()
    await expect
      .poll(
        () =>
          verify(other).then(
            () => 'accepted',
            (error: CaracalError) => error.code,
          ),
        { timeout: 8_000 },
      )
      .toBe('accepted')
    feed.close()
    await relay.stop()
  }, 40_000)
})

function adminToken(): string {
  return readFileSync(join(installation.home, 'keys/admin-token'), 'utf8').trim()
}

/** HTTP in the middle that can be cut: the network between a resource server and the API. */
async function startRelay(target: string) {
  let open = true
  const server: Server = createServer((request, response) => {
    if (!open) return void request.socket.destroy()
    const ended = new AbortController()
    response.once('close', () => ended.abort())
    fetch(target + request.url, { headers: { authorization: request.headers.authorization ?? '' }, signal: ended.signal })
      .then(async (answer) => {
        response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' })
        for await (const chunk of answer.body ?? []) response.write(chunk)
        response.end()
      })
      .catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut: () => {
      open = false
      server.closeAllConnections()
    },
    restore: () => {
      open = true
    },
    stop: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await sleep(10)
    },
  }
}
