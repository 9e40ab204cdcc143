import { execFile } from 'node:child_process'
import { join } from 'node:path'
import {
  Client,
  ClientCredentialsProvider,
  discoverOAuthProtectedResourceMetadata,
  ProtocolError,
  SdkHttpError,
  StreamableHTTPClientTransport,
} from '@modelcontextprotocol/client'
import { ClientCredentialsProvider as OldProvider } from '@modelcontextprotocol/sdk/client/auth-extensions.js'
import { Client as OldClient } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as OldTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { KEY, type McpWorld, startMcpWorld } from './mcp-world.ts'

const EVERYTHING = 'https://everything.example/'
const MODERN = 'https://modern.example/'
const SCOPES = 'tools:safe tools:sum tools:slow tools:asked docs:read prompts:use'

let world: McpWorld
const open: { close(): Promise<void> }[] = []
beforeAll(async () => {
  world = await startMcpWorld()
}, 240_000)
afterAll(async () => {
  await Promise.all(open.map((client) => client.close()))
  await world.stop()
})

const withToken = (token: string) => ({ requestInit: { headers: { authorization: `Bearer ${token}` } } })
const mandate = (resource = EVERYTHING, scope = resource === EVERYTHING ? SCOPES : 'use ask') => world.mandate({ resource, scope })

/** The official client of today, at a server behind the adapter. */
async function connect(server: string, token: string, mode: 'auto' | 'legacy' = 'auto', capabilities = {}): Promise<Client> {
  const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode }, capabilities })
  await client.connect(new StreamableHTTPClientTransport(new URL(`${world.url}/mcp/${server}`), withToken(token)))
  open.push(client)
  return client
}

/** Status and reason with which a call of an official client was refused. */
async function refusal(call: Promise<unknown>): Promise<string> {
  const error = await call.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  // What the revision answers with 400 an official client takes apart itself.
  if (error instanceof ProtocolError) return `400 ${error.code}`
  if (!(error instanceof SdkHttpError)) return String(error)
  const { error: told } = JSON.parse(String(error.data.text)) as { error: { code: number; data: { reason: string } } }
  return `${error.status} ${told.data.reason} ${told.code}`
}

const post = (path: string, token: string | null, body: unknown, headers: Record<string, string> = {}) =>
  fetch(`${world.url}${path}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...headers,
    },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })

describe('[P-087] official clients at real servers', () => {
  test.each(['auto', 'legacy'] as const)('the reference server, with sessions (%s)', async (mode) => {
    const client = await connect('everything', await mandate(), mode)
    expect(client.getServerVersion()).toMatchObject({ name: 'mcp-servers/everything' })
    expect(await client.callTool({ name: 'echo', arguments: { message: 'hi' } })).toMatchObject({ content: [{ text: 'Echo: hi' }] })
    expect(await client.readResource({ uri: 'demo://resource/dynamic/text/1' })).toMatchObject({ contents: [{ mimeType: 'text/plain' }] })
    expect(await client.getPrompt({ name: 'simple-prompt' })).toMatchObject({ messages: [{ role: 'user' }] })
  })

  test('a server of 2026-07-28, without sessions', async () => {
    const client = await connect('modern', await mandate(MODERN))
    expect(await client.callTool({ name: 'say-hello', arguments: { to: 'you' } })).toMatchObject({ content: [{ text: 'say-hello you' }] })
    expect(await client.readResource({ uri: 'note://open' })).toMatchObject({ contents: [{ text: 'the note open' }] })
  })

  test('a client of the line before, with progress on the way', async () => {
    const client = new OldClient({ name: 'old', version: '1' })
    await client.connect(new OldTransport(new URL(`${world.url}/mcp/everything`), withToken(await mandate())))
    open.push(client)
    const progress: number[] = []
    const call = { name: 'trigger-long-running-operation', arguments: { duration: 1, steps: 2 } }
    await client.callTool(call, undefined, { onprogress: ({ progress: at }) => progress.push(at) })
    expect(progress.length).toBeGreaterThan(0)
  })

  test('the inspector lists what may be called, and calls it', async () => {
    const token = await mandate()
    const home = world.installation.home
    const inspect = (...args: string[]) =>
      new Promise<string>((resolve, reject) => {
        const bin = join(import.meta.dirname, '../../node_modules/.bin/mcp-inspector')
        const all = ['--cli', `${world.url}/mcp/everything`, '--transport', 'http', '--header', `Authorization: Bearer ${token}`, ...args]
        execFile(bin, all, { env: { PATH: process.env.PATH, HOME: home } }, (error, stdout, stderr) =>
          error === null ? resolve(stdout) : reject(new Error(`${stdout}${stderr}`)),
        )
      })
    const { tools } = JSON.parse(await inspect('--method', 'tools/list')) as { tools: { name: string }[] }
    expect(tools.map(({ name }) => name)).toContain('echo')
    expect(await inspect('--method', 'tools/call', '--tool-name', 'echo', '--tool-arg', 'message=seen')).toContain('Echo: seen')
  })
})

describe('[P-088] lists and calls', () => {
  test('a list shows what this caller could call, and nothing else', async () => {
    const client = await connect('everything', await mandate())
    const names = (await client.listTools()).tools.map(({ name }) => name).sort()
    expect(names).toEqual(expect.arrayContaining(['echo', 'get-sum', 'get-tiny-image', 'trigger-long-running-operation']))
    expect(names.filter((name) => !/^(echo|get-sum|get-tiny-image|trigger-.*)$/.test(name))).toEqual([])
    expect((await client.listResourceTemplates()).resourceTemplates.map(({ uriTemplate }) => uriTemplate)).toEqual([
      'demo://resource/dynamic/text/{resourceId}',
    ])
    expect((await client.listPrompts()).prompts.map(({ name }) => name)).toContain('simple-prompt')
    const narrow = await connect('everything', await mandate(EVERYTHING, 'tools:sum'))
    expect((await narrow.listTools()).tools.map(({ name }) => name)).toEqual(['get-sum'])
    expect((await narrow.listPrompts()).prompts).toEqual([])
    const modern = await connect('modern', await mandate(MODERN))
    expect((await modern.listTools()).tools.map(({ name }) => name)).toEqual(['whoami', 'say-hello', 'say-priced', 'ask'])
    expect((await modern.listResources()).resources.map(({ uri }) => uri)).toEqual(['note://open'])
    expect((await modern.listPrompts()).prompts).toEqual([])
  })

  test.each([
    ['arguments that the rules allow', 'get-sum', { a: 1, b: 2 }, 'allowed'],
    ['arguments that they do not', 'get-sum', { a: 1000, b: 2 }, '403 no_rule_allows -32003'],
    ['arguments that they cannot read', 'get-sum', { b: 2 }, '403 condition_failed -32003'],
    ['a tool that the caller could never call', 'get-env', {}, '404 not_found -32602'],
    ['a tool that nobody declared', 'gzip-file-as-resource', {}, '404 not_found -32602'],
    ['a tool that does not exist', 'nothing-like-that', {}, '404 not_found -32602'],
  ])('[P-090] %s', async (_what, name, args, expected) => {
    const client = await connect('everything', await mandate())
    const call = client.callTool({ name, arguments: args })
    if (expected === 'allowed') expect(await call).toMatchObject({ content: [{ text: expect.stringContaining('3') }] })
    else expect(await refusal(call)).toBe(expected)
  })

  test('conditions read of the request what they may read everywhere', async () => {
    const token = await mandate(MODERN)
    const hello = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'say-hello', arguments: {} } }
    expect((await post('/mcp/modern', token, hello)).status).toBe(200)
    expect((await post('/mcp/modern', token, hello, { accept: 'text/crawler' })).status).toBe(404)
  })

  test('resources and prompts are decided one by one too', async () => {
    const client = await connect('modern', await mandate(MODERN))
    for (const uri of ['note://secret', 'other://open', 'note://open/../secret']) {
      expect(await refusal(client.readResource({ uri }))).toMatch(/^(404 not_found|400) -32602$/)
    }
    expect(await refusal(client.getPrompt({ name: 'greet' }))).toBe('404 not_found -32602')
    expect(world.modern.seen.filter(({ body }) => body.includes('secret'))).toEqual([])
  })

  test('a missing scope is said with the scopes that would do, and where to get them', async () => {
    const answer = await post('/mcp/everything', await mandate(EVERYTHING, 'tools:sum'), {
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { name: 'echo', arguments: { message: 'x' } },
    })
    expect(answer.status).toBe(403)
    expect(answer.headers.get('www-authenticate')).toBe(
      `Bearer realm="caracal", error="insufficient_scope", scope="tools:safe", resource_metadata="${world.url}/.well-known/oauth-protected-resource/mcp/everything"`,
    )
  })

  test('a single-use mandate lists, and calls once', async () => {
    const once = await world.mandate({ resource: 'https://once.example/', scope: 'all' })
    const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo', arguments: { message: 'x' } } }
    const session = await post('/mcp/once', once, INITIALIZE)
    const headers = { 'mcp-session-id': session.headers.get('mcp-session-id') ?? '', 'mcp-protocol-version': '2025-11-25' }
    await session.text()
    for (const method of ['tools/list', 'tools/list'])
      expect((await post('/mcp/once', once, { jsonrpc: '2.0', id: 1, method }, headers)).status).toBe(200)
    expect((await post('/mcp/once', once, call, headers)).status).toBe(200)
    const second = await post('/mcp/once', once, call, headers)
    expect([second.status, ((await second.json()) as { error: { data: unknown } }).error.data]).toMatchObject([
      401,
      { reason: 'token_replayed' },
    ])
  })
})

const INITIALIZE = {
  jsonrpc: '2.0',
  id: 0,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'raw', version: '1' } },
}

describe('what a person has to approve', () => {
  const ask = { name: 'ask', arguments: { to: 'you' } }

  test('is an error where the client cannot be asked', async () => {
    expect(await refusal((await connect('everything', await mandate())).callTool({ name: 'get-tiny-image', arguments: {} }))).toBe(
      '403 approval_required -32003',
    )
    expect(await refusal((await connect('modern', await mandate(MODERN))).callTool(ask))).toBe('403 approval_required -32003')
  })

  test('is asked as MCP 2026-07-28 asks; answering it approves nothing', async () => {
    const client = await connect('modern', await mandate(MODERN), 'auto', { elicitation: { form: {} } })
    const questions: string[] = []
    client.setRequestHandler('elicitation/create', ({ params }) => {
      questions.push(params.message)
      return { action: questions.length < 2 ? 'accept' : 'decline', content: {} }
    })
    expect(await refusal(client.callTool(ask))).toBe('403 approval_required -32003')
    expect(questions).toHaveLength(2)
    expect(questions[0]).toContain('approved (ops)')
    expect(world.modern.seen.filter(({ body }) => body.includes('"name":"ask"'))).toEqual([])
  })
})

describe('[P-091] discovery and credentials', () => {
  test('metadata is exact, a 401 names it, and a mandate for what it says opens the server', async () => {
    const path = '/.well-known/oauth-protected-resource/mcp/everything'
    const bare = await post('/mcp/everything', null, INITIALIZE)
    expect([bare.status, bare.headers.get('www-authenticate')]).toEqual([
      401,
      `Bearer realm="caracal", resource_metadata="${world.url}${path}"`,
    ])
    const issuer = `${world.installation.endpoints.sts}/zones/${world.zone}`
    expect(await (await fetch(`${world.url}${path}`)).json()).toMatchObject({
      resource: `${world.url}/mcp/everything`,
      authorization_servers: [issuer],
    })
    expect((await fetch(`${world.url}/.well-known/oauth-protected-resource/mcp/unknown`)).status).toBe(404)
    const found = await discoverOAuthProtectedResourceMetadata(`${world.url}/mcp/discovered`)
    const token = await world.mandate({ resource: found.resource, scope: found.scopes_supported?.join(' ') ?? '' })
    const client = await connect('discovered', token)
    expect(await client.callTool({ name: 'echo', arguments: { message: 'found' } })).toMatchObject({ content: [{ text: 'Echo: found' }] })
  })

  test.each([
    ['this line of the SDK', true],
    ['the line before it', false],
  ])('a client of %s that has nothing but a client secret finds the issuer, gets a mandate by itself, and calls', async (_what, isNew) => {
    const own = {
      clientId: world.agent.id,
      clientSecret: world.agent.secret,
      expectedIssuer: `${world.installation.endpoints.sts}/zones/${world.zone}`,
    }
    const url = new URL(`${world.url}/mcp/discovered`)
    const about = { name: 'test', version: '1' }
    const echo = { name: 'echo', arguments: { message: 'found' } }
    let said: unknown
    if (isNew) {
      const client = new Client(about, { versionNegotiation: { mode: 'auto' } })
      open.push(client)
      await client.connect(new StreamableHTTPClientTransport(url, { authProvider: new ClientCredentialsProvider(own) }))
      said = await client.callTool(echo)
    } else {
      const client = new OldClient(about)
      open.push(client)
      await client.connect(new OldTransport(url, { authProvider: new OldProvider(own) }) as Parameters<OldClient['connect']>[0])
      said = await client.callTool(echo)
    }
    expect(said).toMatchObject({ content: [{ text: 'Echo: found' }] })
  })

  test("the server gets the provider's credential and never the caller's", async () => {
    const token = await mandate(MODERN)
    const client = await connect('modern', token)
    expect(await client.callTool({ name: 'whoami', arguments: {} })).toMatchObject({ content: [{ text: 'known' }] })
    const reached = world.modern.seen.filter(({ headers }) => headers.authorization !== undefined)
    expect(reached.length).toBeGreaterThan(0)
    expect(reached.every(({ headers }) => headers.authorization === `Bearer ${KEY}`)).toBe(true)
    expect(JSON.stringify(world.modern.seen)).not.toContain(token.slice(-40))
  })

  test.each([
    ['for another server', async () => ['/mcp/modern', await mandate()] as const, 401, 'wrong_audience'],
    ['of no STS', async () => ['/mcp/everything', 'eyJhbGciOiJub25lIn0.e30.'] as const, 401, 'invalid_token'],
    ['in the URL', async () => [`/mcp/everything?access_token=${await mandate()}`, await mandate()] as const, 400, 'invalid_request'],
    [
      'for a server whose resource names another URL',
      async () => ['/mcp/elsewhere', await mandate('https://elsewhere.example/', 'all')] as const,
      403,
      'upstream_not_allowed',
    ],
  ])('a mandate %s is refused', async (_what, given, status, reason) => {
    const [path, token] = await given()
    const answer = await post(path, token, INITIALIZE)
    expect([answer.status, ((await answer.json()) as { error: { data: unknown } }).error.data]).toMatchObject([status, { reason }])
  })

  test('a page in a browser, an unknown server and a method that is none', async () => {
    const token = await mandate()
    expect((await post('/mcp/everything', token, INITIALIZE, { origin: 'https://evil.example' })).status).toBe(403)
    expect((await post('/mcp/unknown', token, INITIALIZE)).status).toBe(404)
    expect((await fetch(`${world.url}/mcp/everything`, { method: 'PUT', headers: { authorization: `Bearer ${token}` } })).status).toBe(405)
    expect((await post('/mcp/everything', token, INITIALIZE, { 'content-type': 'text/plain' })).status).toBe(415)
    expect((await post('/mcp/everything', token, `"${'x'.repeat(4 * 1024 * 1024)}"`)).status).toBe(413)
  })
})
