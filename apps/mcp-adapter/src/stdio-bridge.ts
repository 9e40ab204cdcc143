import { randomBytes, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import type { Logger } from '@caracal/service'
import { Client, type StandardSchemaV1 } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { createMcpHandler, Server } from '@modelcontextprotocol/server'
import type { McpServer } from './mcp-servers.ts'

/** A program that speaks MCP over its pipes, reachable by URL for the adapter alone. */
export type StdioBridge = {
  readonly url: URL
  /** What proves to the bridge that it is the adapter. */
  readonly headers: readonly string[]
  readonly isAlive: () => boolean
  /** Ends the program and the listener. */
  readonly stop: () => Promise<void>
}

const KEY_HEADER = 'x-bridge-key'

/** Results pass as they are: whether they are well-formed is between the server and its client. */
const ANY: StandardSchemaV1<Record<string, unknown>, Record<string, unknown>> = {
  '~standard': { version: 1, vendor: 'caracal', validate: (value) => ({ value: value as Record<string, unknown> }) },
}

/**
 * Starts a stdio server and a listener on loopback in front of it. Both eras are spoken to the adapter, whatever the program speaks; each
 * request stands for itself, so requests of the server to a client (sampling, elicitation) are not carried. Rejects when it cannot start.
 */
export async function startBridge({ name, command, args }: Extract<McpServer, { kind: 'stdio' }>, logger: Logger): Promise<StdioBridge> {
  const transport = new StdioClientTransport({ command, args: [...args], stderr: 'ignore' })
  const client = new Client({ name: 'caracal', version: '1' }, { versionNegotiation: { mode: 'auto' } })
  await client.connect(transport)
  let alive = true
  client.onclose = () => {
    alive = false
    logger.warn({ server: name }, 'a stdio MCP server ended')
  }
  const handler = createMcpHandler(() => {
    const { tools, resources, prompts, completions } = client.getServerCapabilities() ?? {}
    const capabilities = {
      ...given('tools', tools),
      ...given('resources', resources),
      ...given('prompts', prompts),
      ...given('completions', completions),
    }
    const front = new Server(client.getServerVersion() ?? { name, version: '0' }, { capabilities })
    front.fallbackRequestHandler = ({ method, params }, { mcpReq: { signal } }) =>
      client.request({ method, params: withoutMeta(params) }, ANY, { signal })
    return front
  })
  const key = randomBytes(32).toString('hex')
  const listener = createServer((request, response) => {
    answer(request, response, key, handler.fetch).catch((error: unknown) => {
      logger.error({ err: error, server: name }, 'a call failed in the bridge of a stdio MCP server')
      response.destroy()
    })
  })
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject)
    listener.listen(0, '127.0.0.1', resolve)
  })
  return {
    url: new URL(`http://127.0.0.1:${(listener.address() as AddressInfo).port}/mcp`),
    headers: [KEY_HEADER, key],
    isAlive: () => alive,
    async stop() {
      listener.close()
      listener.closeAllConnections()
      await handler.close()
      await client.close()
    },
  }
}

function given<K extends string, V>(key: K, value: V | undefined): Partial<Record<K, V>> {
  return value === undefined ? {} : ({ [key]: value } as Record<K, V>)
}

/** What the envelope of a request says belongs to this hop; the client says its own on the next. */
function withoutMeta(params: Readonly<Record<string, unknown>> | undefined): Record<string, unknown> {
  const { _meta, ...rest } = params ?? {}
  return rest
}

/** Other programs on this machine reach the port too: without the key there is nothing. */
async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  key: string,
  fetch: (request: Request) => Promise<Response>,
): Promise<void> {
  const shown = Buffer.from(String(request.headers[KEY_HEADER] ?? '').padEnd(key.length))
  if (shown.length !== key.length || !timingSafeEqual(shown, Buffer.from(key))) {
    response.writeHead(404).end()
    return
  }
  const headers = new Headers()
  for (const [name, values] of Object.entries(request.headersDistinct)) for (const value of values ?? []) headers.append(name, value)
  const body = request.method === 'POST' ? { body: Readable.toWeb(request) as ReadableStream<Uint8Array>, duplex: 'half' as const } : {}
  const found = await fetch(new Request(`http://127.0.0.1${request.url ?? '/'}`, { method: request.method ?? 'GET', headers, ...body }))
  response.writeHead(found.status, Object.fromEntries(found.headers))
  if (found.body === null) response.end()
  else Readable.fromWeb(found.body as ReadableStream<Uint8Array>).pipe(response)
}
