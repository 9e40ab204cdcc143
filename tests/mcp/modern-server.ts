import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { toNodeHandler } from '@modelcontextprotocol/node'
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import { z } from 'zod'

/** What it says that a call costs, in the header `x-cost`. */
export const COST = '0.03'

export type ModernServer = {
  readonly url: string
  /** Headers and bodies of what reached it, oldest first. */
  readonly seen: { readonly headers: IncomingHttpHeaders; readonly body: string }[]
  stop(): Promise<void>
}

/** A server on the official SDK that speaks 2026-07-28, and the older revisions without sessions. */
export async function startModern(): Promise<ModernServer> {
  const seen: ModernServer['seen'] = []
  const handler = toNodeHandler(
    createMcpHandler(({ requestInfo }) => {
      const server = new McpServer({ name: 'modern', version: '1' })
      const text = (words: string) => ({ content: [{ type: 'text' as const, text: words }] })
      server.registerTool('whoami', { description: 'Whose credential came' }, async () =>
        text(requestInfo?.headers.get('authorization') === null ? 'nobody' : 'known'),
      )
      for (const name of ['say-hello', 'say-priced', 'say-secret', 'ask', 'undeclared'])
        server.registerTool(name, { description: name, inputSchema: z.object({ to: z.string().optional() }) }, async ({ to }) =>
          text(`${name} ${to ?? ''}`),
        )
      for (const name of ['open', 'secret'])
        server.registerResource(name, `note://${name}`, {}, async (uri) => ({ contents: [{ uri: uri.href, text: `the note ${name}` }] }))
      server.registerPrompt('greet', {}, async () => ({
        messages: [{ role: 'user' as const, content: { type: 'text' as const, text: 'Hello' } }],
      }))
      return server
    }),
  )
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    const body = Buffer.concat(parts).toString()
    seen.push({ headers: request.headers, body })
    response.setHeader('x-cost', COST)
    await handler(request, response, body === '' ? undefined : JSON.parse(body))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    seen,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
