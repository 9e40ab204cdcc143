import { execFileSync, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, redisUrl } from '@caracal/harness'
import { mcpConfiguration, startMcpAdapter } from '@caracal/mcp-adapter'
import type { RunningService } from '@caracal/service'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { conforms } from './conformance.ts'
import { type McpWorld, startMcpWorld } from './mcp-world.ts'
import { COST } from './modern-server.ts'

const EVERYTHING = 'https://everything.example/'
const MODERN = 'https://modern.example/'

let world: McpWorld
let folder: string
const replicas: RunningService[] = []
/** Every replica of the adapter: the one beside the STS, and two that only share its keys and Redis. */
let urls: string[]
/** One whose callers present API keys. */
let keyed: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'caracal-mcp-'))
  const redis = redisUrl()
  world = await startMcpWorld(['--redis-url', redis])
  urls = [world.url]
  for (const name of ['b', 'c', 'keyed']) {
    const port = String(await freePort())
    const environment = {
      CARACAL_MODE: 'dev',
      LOG_LEVEL: 'silent',
      HOST: '127.0.0.1',
      PORT: port,
      METRICS_PORT: port,
      STS_URL: world.installation.endpoints.sts,
      REDIS_URL: redis,
      SPOOL_DIR: join(folder, name),
      MCP_SERVERS: world.servers,
      MCP_SERVER_TIMEOUT: '1s',
      MCP_AUTH_MODE: name === 'keyed' ? 'api_key' : '',
      AUDIT_HMAC_KEY: key('audit-hmac-key'),
      STREAMS_HMAC_KEY: key('streams-hmac-key'),
      GATEWAY_STS_HMAC_KEY: key('gateway-sts-hmac-key'),
    }
    const service = await startMcpAdapter(mcpConfiguration.parse(environment))
    replicas.push(service)
    if (name === 'keyed') keyed = service.address.url
    else urls.push(service.address.url)
  }
  const isReady = async (url: string) => (await fetch(`${url}/ready`)).status === 200
  while (!(await Promise.all([...urls, keyed].map(isReady))).every(Boolean)) await new Promise((resolve) => setTimeout(resolve, 200))
}, 300_000)

afterAll(async () => {
  await Promise.all(replicas.map((service) => service.stop()))
  await world.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** What promtool says against a scrape. */
function faultsOfMetrics(text: string): string {
  execFileSync(join(import.meta.dirname, '../chart/install-promtool.sh'))
  const { stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' })
  return stdout + stderr
}

const key = (name: string) => readFileSync(join(world.installation.home, 'keys', name), 'utf8').trim()

const post = (url: string, token: string, body: unknown, headers: Record<string, string> = {}) =>
  fetch(url, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...headers,
    },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })

const call = (name: string, args: unknown = {}, id = 1) => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args } })

describe('[P-092] any replica serves any request', () => {
  test('a session goes on at whichever replica the next request reaches', async () => {
    const token = await world.mandate({ resource: EVERYTHING, scope: 'tools:safe' })
    let at = 0
    const client = new Client({ name: 'test', version: '1' })
    const transport = new StreamableHTTPClientTransport(new URL('http://adapter.invalid/mcp/everything'), {
      requestInit: { headers: { authorization: `Bearer ${token}` } },
      fetch: (_url, init) => fetch(`${urls[at++ % urls.length]}/mcp/everything`, init),
    })
    await client.connect(transport)
    for (const message of ['a', 'b', 'c', 'd'])
      expect(await client.callTool({ name: 'echo', arguments: { message } })).toMatchObject({ content: [{ text: `Echo: ${message}` }] })
    expect(at).toBeGreaterThan(5)
    const session = transport.sessionId ?? ''
    expect(session).toMatch(/^csv1\./)
    const headers = { 'mcp-session-id': session }
    const stranger = await world.mandate({ resource: EVERYTHING, scope: 'tools:safe' }, world.other)
    expect((await post(`${world.url}/mcp/everything`, stranger, call('echo', { message: 'x' }), headers)).status).toBe(404)
    expect((await post(`${world.url}/mcp/everything`, token, call('echo', { message: 'x' }), headers)).status).toBe(200)
    await client.close()
  })
})

describe('[P-089] what is decided is what is forwarded', () => {
  test.each([
    ['a key twice', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"say-hello","name":"undeclared"}}', -32700],
    ['a key in another case', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"say-hello","Name":"undeclared"}}', -32600],
    ['a header that names another tool', JSON.stringify(call('say-hello')), -32020],
  ])('%s is refused before any server hears of it', async (_what, body, code) => {
    const token = await world.mandate({ resource: MODERN, scope: 'use' })
    const before = world.modern.seen.length
    const answer = await post(`${world.url}/mcp/modern`, token, body, code === -32020 ? { 'mcp-name': 'undeclared' } : {})
    expect([answer.status, await answer.json()]).toMatchObject([400, { error: { code } }])
    expect(world.modern.seen).toHaveLength(before)
  })

  test('each element of a batch is decided by itself', async () => {
    const token = await world.mandate({ resource: MODERN, scope: 'use' })
    const batch = [
      call('say-hello', { to: 'you' }, 1),
      call('undeclared', {}, 2),
      call('ask', {}, 3),
      { jsonrpc: '2.0', id: 4, method: 'tools/list' },
    ]
    const answer = await post(`${world.url}/mcp/modern`, token, batch)
    const answers = (await answer.json()) as { id: number; result?: { tools?: { name: string }[] }; error?: { data: { reason: string } } }[]
    expect(answer.status).toBe(200)
    expect(answers.map(({ id, error }) => [id, error?.data.reason])).toEqual([
      [1, undefined],
      [2, 'not_found'],
      [3, 'insufficient_scope'],
      [4, undefined],
    ])
    expect(answers[3]?.result?.tools?.map(({ name }) => name)).toEqual(['whoami', 'say-hello', 'say-priced'])
    expect((await post(`${world.url}/mcp/modern`, token, [call('undeclared'), call('ask')])).status).toBe(404)
  })
})

describe('clients without MCP', () => {
  const mandates: Record<string, [string, string]> = {
    everything: [EVERYTHING, 'tools:safe tools:sum tools:asked tools:slow'],
    modern: [MODERN, 'use'],
    dead: ['https://dead.example/', 'all'],
  }
  const plain = async (path: string, body: Record<string, unknown>, url = world.url) => {
    const [resource = '', scope = ''] = mandates[String(body.server)] ?? [EVERYTHING, 'tools:safe']
    const answer = await post(`${url}${path}`, await world.mandate({ resource, scope }), body)
    const told = (await answer.json()) as { code?: string; isError?: boolean }
    return [answer.status, told.code ?? (told.isError === true ? 'tool error' : 'result'), answer.headers.get('x-caracal-decision')]
  }

  test('what the server says that a call cost counts, as it does for clients with MCP', async () => {
    const token = await world.mandate({ resource: MODERN, scope: 'use' })
    expect((await post(`${world.url}/mcp/modern`, token, call('say-priced'))).status).toBe(200)
    expect(await plain('/mcp/tool/call', { server: 'modern', tool: 'say-priced' })).toEqual([200, 'result', 'allow'])
    const amounts = async () => {
      const { stdout } = await world.installation.caracal(['--json', 'usage', '--zone', 'lab', '--resource', 'modern'])
      return (JSON.parse(stdout) as { amount: string }[]).map(({ amount }) => amount)
    }
    await expect.poll(amounts).toEqual([COST, COST])
  })

  test.each([
    ['a call', { server: 'everything', tool: 'echo', arguments: { message: 'x' } }, [200, 'result', 'allow']],
    ['a tool that fails is a result', { server: 'everything', tool: 'echo', arguments: {} }, [200, 'tool error', 'allow']],
    [
      '[P-090] arguments that no rule allows',
      { server: 'everything', tool: 'get-sum', arguments: { a: 1000, b: 1 } },
      [403, 'no_rule_allows', 'deny'],
    ],
    ['[P-090] what a person has to approve', { server: 'everything', tool: 'get-tiny-image' }, [403, 'approval_required', 'hold']],
    ['a tool that the caller could never call', { server: 'everything', tool: 'get-env' }, [404, 'not_found', 'deny']],
    ['a server that there is not', { server: 'unknown', tool: 'echo' }, [404, 'resource_unknown', 'deny']],
    [
      '[P-087] another agent in the body',
      { server: 'everything', tool: 'echo', agent_id: 'other', arguments: { message: 'x' } },
      [403, 'forbidden', 'deny'],
    ],
    [
      'the agent itself in the body',
      { server: 'everything', tool: 'echo', agent_id: 'agent', arguments: { message: 'x' } },
      [200, 'result', 'allow'],
    ],
    ['a member that there is not', { server: 'everything', tool: 'echo', scope: 'all' }, [422, 'validation_failed', 'deny']],
    ['[P-092] a server that is dead', { server: 'dead', tool: 'echo' }, [502, 'upstream_unreachable', 'allow']],
  ])('%s', async (_what, body, expected) => {
    expect(await plain('/mcp/tool/call', body)).toEqual(expected)
  })

  test('resources', async () => {
    expect(await plain('/mcp/resource/read', { server: 'modern', uri: 'note://open' })).toEqual([200, 'result', 'allow'])
    expect(await plain('/mcp/resource/read', { server: 'modern', uri: 'note://secret' })).toEqual([404, 'not_found', 'deny'])
  })

  test('[4-18] a server that is silent for MCP_SERVER_TIMEOUT is a 504', async () => {
    const slow = { server: 'everything', tool: 'trigger-long-running-operation', arguments: { duration: 20, steps: 1 } }
    expect(await plain('/mcp/tool/call', slow, urls[1])).toEqual([504, 'upstream_timeout', 'allow'])
  })
})

test('with MCP_AUTH_MODE an API key takes the place of a mandate, and a copied request counts once', async () => {
  const made = await world.installation.caracal(['--json', 'credential', 'create', 'agent', '--zone', 'lab', '--api-key', 'laptop'])
  const { api_key } = JSON.parse(made.stdout) as { api_key: string }
  const ask = (tool: string, nonce: string, key = api_key) =>
    fetch(`${keyed}/mcp/tool/call`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'x-api-key': key,
        'x-caracal-nonce': nonce,
        'x-caracal-timestamp': String(Math.floor(Date.now() / 1000)),
      },
      body: JSON.stringify({ server: 'modern', tool, arguments: {} }),
    })
  const nonce = () => randomBytes(16).toString('hex')
  // The replica hears of the new key in a moment.
  await expect.poll(async () => (await ask('whoami', nonce())).status, { timeout: 20_000 }).toBe(200)
  const first = nonce()
  expect((await ask('whoami', first)).status).toBe(200)
  expect((await ask('whoami', first)).status).toBe(401)
  expect((await ask('undeclared', nonce())).status).toBe(404)
  expect((await ask('whoami', nonce(), `${api_key.slice(0, -4)}AAAA`)).status).toBe(401)
  expect(world.modern.seen.at(-1)?.headers['x-api-key']).toBeUndefined()
})

test('the official conformance suite passes through', async () => {
  const token = await world.mandate({ resource: EVERYTHING, scope: 'tools:safe prompts:use' })
  const scenarios = ['server-initialize', 'ping', 'tools-list', 'server-sse-multiple-streams']
  expect(await conforms(new URL(`${urls[1]}/mcp/everything`), token, scenarios)).toEqual({
    'server-initialize': '1/1',
    ping: '1/1',
    'tools-list': '1/1',
    'server-sse-multiple-streams': '2/2',
  })
}, 120_000)

test('[P-093] arguments are kept as digest and size, never as they are', async () => {
  const canary = 'canary-argument-5d1e8a'
  const token = await world.mandate({ resource: EVERYTHING, scope: 'tools:safe' })
  const answer = await post(`${world.url}/mcp/tool/call`, token, { server: 'everything', tool: 'echo', arguments: { message: canary } })
  const id = answer.headers.get('x-request-id') ?? ''
  const url = `${world.installation.endpoints.audit}/v1/zones/${world.zone}/events?request_id=${id}`
  const events = async () => (await fetch(url, { headers: { authorization: `Bearer ${key('audit-admin-token')}` } })).text()
  await expect.poll(events, { timeout: 30_000, interval: 500 }).toContain('call.finished')
  const text = await events()
  expect(text).toContain('arguments_bytes\\":36')
  expect(text).toContain(
    createHash('sha256')
      .update(JSON.stringify({ message: canary }))
      .digest('hex'),
  )
  expect(text).not.toContain(canary)
})

describe('[4-24] [P-092] health', () => {
  test('a dead server degrades, and keeps neither traffic nor other servers away', async () => {
    const health = (await (await fetch(`${world.url}/health`)).json()) as { status: string; checks: Record<string, string> }
    expect(health).toMatchObject({ status: 'degraded', checks: { 'mcp_server:dead': 'failing', 'mcp_server:everything': 'ok' } })
    for (const path of ['/health', '/livez', '/ready']) expect((await fetch(`${world.url}${path}`)).status).toBe(200)
  })

  test('numbers, where the metrics port is the port of the calls', async () => {
    const metrics = await (await fetch(`${urls[1]}/metrics`)).text()
    expect(metrics).toMatch(/caracal_mcp_requests_total\{[^}]*server="everything",kind="tool",outcome="error"[^}]*\} 1/)
    expect(faultsOfMetrics(metrics)).toBe('')
    expect(metrics).toMatch(/caracal_mcp_server_up\{[^}]*server="dead"[^}]*\} 0/)
    expect(await (await fetch(`${urls[1]}/stats`)).json()).toMatchObject({
      service: 'mcp-adapter',
      servers: expect.arrayContaining([{ name: 'dead', up: false, messages: { allow: 0, deny: 0, hold: 0, error: 0 } }]),
    })
    expect((await fetch(`${world.url}/metrics`)).status).toBe(404)
  })
})
